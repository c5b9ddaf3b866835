// A menu of the categories that the model knows; of many, a field to type in
// that suggests them.
import { hintBelow, labelled } from "./labelled.js";

const MOST_IN_A_MENU = 60;

// {name, element, wide, json, clear, example}, as inputs.js wants it.
export function menu(spec, id, wrap) {
  const { categories, other, example } = spec.field;
  const text = spec.dtype === "string";
  const missing = text ? '""' : "NaN";
  if (categories.length > MOST_IN_A_MENU) return suggested(spec, id, wrap);
  const element = labelled(spec, id);
  const field = document.createElement("select");
  field.id = id;
  for (const each of categories) field.append(new Option(each, JSON.stringify(each)));
  field.append(
    new Option("(another value)", JSON.stringify(other)),
    new Option("(missing)", missing),
  );
  const choose = (value) => { field.value = value; };
  choose(missing);
  element.append(field);
  return {
    name: spec.name, element, wide: false,
    json: () => wrap(field.value),
    clear: () => choose(missing),
    example: () => choose(example === null ? missing : JSON.stringify(example)),
  };
}

function suggested(spec, id, wrap) {
  const { categories, example } = spec.field;
  const text = spec.dtype === "string";
  const element = labelled(spec, id);
  const field = Object.assign(document.createElement("input"), {
    id, type: "text", autocomplete: "off", placeholder: "missing",
  });
  const list = document.createElement("datalist");
  list.id = `${id}-known`;
  list.append(...categories.map((each) => new Option("", each)));
  field.setAttribute("list", list.id);
  element.append(field, list, hintBelow(field, `one of ${categories.length}`));
  return {
    name: spec.name, element, wide: false,
    json: () => {
      const written = field.value.trim();
      if (text) return wrap(JSON.stringify(written));
      if (written === "") return wrap("NaN");
      // What is no number is refused by the server, which names the field.
      const number = Number(written);
      return wrap(Number.isNaN(number) ? JSON.stringify(written) : String(number));
    },
    clear: () => { field.value = ""; },
    example: () => { field.value = example ?? ""; },
  };
}
