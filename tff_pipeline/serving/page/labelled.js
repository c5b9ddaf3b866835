// What an input is called, above its field.
// With a label for the field of that id; without one, for all that is in it.
export function labelled(spec, id, hint) {
  const element = document.createElement("div");
  const label = document.createElement(id ? "label" : "div");
  if (id) {
    label.htmlFor = id;
  } else {
    label.className = "label";
    label.id = `label-of-${spec.name}`;
    element.setAttribute("role", "group");
    element.setAttribute("aria-labelledby", label.id);
  }
  label.textContent = spec.name;
  if (hint) {
    const words = document.createElement("span");
    words.className = "hint";
    words.textContent = ` ${hint}`;
    label.append(words);
  }
  element.append(label);
  return element;
}
