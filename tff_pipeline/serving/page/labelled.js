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
  const title = document.createElement("span");
  // A long name may go on in a new line after each "_".
  for (const part of (spec.field?.title ?? spec.name).split(/(?<=_)/)) {
    title.append(part, document.createElement("wbr"));
  }
  label.append(title);
  if (hint) {
    const words = document.createElement("span");
    words.className = "hint";
    words.textContent = ` ${hint}`;
    label.append(words);
  }
  element.append(label);
  return element;
}

// What is usual in a field, below it, where a screen reader finds it too.
export function hintBelow(field, words) {
  const hint = document.createElement("p");
  hint.className = "hint below";
  hint.id = `${field.id}-hint`;
  hint.textContent = words;
  field.setAttribute("aria-describedby", hint.id);
  return hint;
}

// Lets an input say a sentence below its field: what is wrong with its value
// ("wrong"), or unusual ("unusual"); none when the value is changed.
export function noted(input) {
  const { element } = input;
  const note = document.createElement("p");
  note.className = "note";
  note.id = `note-of-${input.name}`;
  note.hidden = true;
  element.append(note);
  const field = element.getAttribute("role") === "group"
    ? element : element.querySelector("input, select, textarea");
  const hint = field.getAttribute("aria-describedby");
  input.note = (kind, sentence) => {
    note.hidden = !sentence;
    note.textContent = sentence ?? "";
    element.classList.remove("wrong", "unusual");
    if (sentence) element.classList.add(kind);
    const described = [sentence ? note.id : null, hint].filter(Boolean).join(" ");
    if (described) field.setAttribute("aria-describedby", described);
    else field.removeAttribute("aria-describedby");
    field.toggleAttribute("aria-invalid", Boolean(sentence) && kind === "wrong");
  };
  for (const event of ["input", "change", "pointerdown"]) {
    element.addEventListener(event, () => input.note(null, null));
  }
  return input;
}

// An error that is shown at the field of its input.
export function wrongValue(spec, sentence) {
  return Object.assign(new Error(sentence), { input: spec.name });
}
