// A field for an input, chosen by what its column holds, where that is known,
// else by its type and shape alone.
import { drawing } from "./drawing.js";
import { hintBelow, labelled, noted, wrongValue } from "./labelled.js";
import { menu } from "./menus.js";

let count = 0;

// {name, element, wide, json(): the value of one row as JSON, clear(),
//  example() where there is one, note(kind, sentence)}
export function inputOf(spec, alone, card) {
  return noted(made(spec, alone, card));
}

function made(spec, alone, card) {
  const shape = spec.shape === null ? null : spec.shape.slice(1);
  const id = `input-${++count}`;
  if (isImage(spec, shape)) return drawing(spec, shape, id, card);
  const scalar = shape !== null && shape.every((size) => size === 1);
  const wrap = (json) => shape.reduce((value) => `[${value}]`, json);
  if (!scalar) return anything(spec, shape, id);
  const kind = spec.field?.kind;
  if (kind === "category" || kind === "boolean") return menu(spec, id, wrap);
  if (spec.dtype === "string") return text(spec, id, alone || kind === "text", wrap);
  if (spec.dtype === "bool") return yesOrNo(spec, id, wrap);
  return number(spec, id, wrap);
}

// Pixels of 4x4 up to 512x512, in grey or in colour.
function isImage(spec, shape) {
  return shape !== null && (shape.length === 2 || shape.length === 3)
    && /^(uint8|u?int(16|32|64)|float(16|32|64))$/.test(spec.dtype)
    && shape.slice(0, 2).every((size) => size >= 4 && size <= 512)
    && [undefined, 1, 3].includes(shape[2]);
}

function control(tag, id, settings) {
  return Object.assign(document.createElement(tag), { id, ...settings });
}

function text(spec, id, long, wrap) {
  const element = labelled(spec, id);
  const field = long
    ? control("textarea", id, { rows: 5 })
    : control("input", id, { type: "text" });
  element.append(field);
  return {
    name: spec.name, element, wide: long,
    json: () => wrap(JSON.stringify(field.value)),
    clear: () => { field.value = ""; },
  };
}

function yesOrNo(spec, id, wrap) {
  const element = labelled(spec, id);
  const field = control("select", id, {});
  field.append(new Option("false"), new Option("true"));
  element.append(field);
  return {
    name: spec.name, element, wide: false,
    json: () => wrap(field.value),
    clear: () => { field.value = "false"; },
  };
}

function number(spec, id, wrap) {
  const floating = /float/.test(spec.dtype);
  const known = spec.field ?? {};
  const { low, high, unit } = known;
  const ranged = typeof low === "number";
  const element = labelled(spec, id);
  // Of type text: a number's field hides what it cannot read.
  const field = control("input", id, {
    type: "text", autocomplete: "off", placeholder: floating ? "missing" : "0",
    // A phone's keys for decimals have no minus.
    inputMode: low < 0 ? "text" : known.whole ? "numeric" : "decimal",
  });
  element.append(field);
  const range = [ranged ? `${low} to ${high}` : null, unit].filter(Boolean).join(" ");
  if (range) element.append(hintBelow(field, range));
  return {
    name: spec.name, element, wide: false,
    json: () => {
      const written = field.value.trim().replace(",", ".");
      if (written === "") return wrap(floating ? "NaN" : "0");
      if (Number.isNaN(Number(written))) {
        const title = known.title ?? spec.name;
        throw wrongValue(spec, `${title} is “${field.value}”, which is no number.`);
      }
      // 1e5, 0x10, 007 and .5 are numbers to JavaScript, not all to JSON.
      return wrap(/^-?\d{16,}$/.test(written) ? written : String(Number(written)));
    },
    clear: () => { field.value = ""; },
    example: spec.field && (() => { field.value = known.example ?? ""; }),
  };
}

// Whatever else: JSON, begun with zeros of the right shape.
function anything(spec, shape, id) {
  const words = shape === null ? "any shape" : `[${shape.map((s) => s ?? "any").join(", ")}]`;
  const element = labelled(spec, id, `${spec.dtype} ${words}, as JSON`);
  const zero = { string: "", bool: false }[spec.dtype] ?? 0;
  const zeros = ([size, ...rest]) => size === undefined
    ? zero
    : Array.from({ length: size ?? 1 }, () => zeros(rest));
  const size = (shape ?? []).reduce((product, s) => product * (s ?? 1), 1);
  const start = size > 100_000 ? "" : JSON.stringify(zeros(shape ?? []));
  const field = control("textarea", id, {
    rows: start.length > 60 ? 6 : 2, className: "mono", spellcheck: false,
  });
  field.value = start;
  element.append(field);
  return {
    name: spec.name, element, wide: true,
    json: () => {
      try {
        // NaN is allowed here as it is by the server.
        JSON.parse(field.value.replace(/-?\b(NaN|Infinity)\b/g, "0"));
      } catch (error) {
        throw wrongValue(spec, `${spec.name} is not JSON: ${error.message}`);
      }
      return field.value;
    },
    clear: () => { field.value = start; },
  };
}
