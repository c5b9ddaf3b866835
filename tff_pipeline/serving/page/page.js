// A form made of a signature, its answer drawn. What an input looks like is
// decided in inputs.js, what an output looks like in outputs.js.
import { inputOf } from "./inputs.js";
import { show, fail } from "./outputs.js";
import { begin as beginWriting } from "./writing.js";

const $ = (id) => document.getElementById(id);

async function begin() {
  const model = await (await fetch("page/model.json")).json();
  const title = model.card.labels?.join(", ") || model.name;
  document.title = title === model.name ? `Try ${title}` : `${title} · ${model.name}`;
  $("name").textContent = title;
  $("about").textContent = [
    title === model.name ? null : `predicted by ${model.name}`,
    model.card.description ?? model.card.task,
    `version ${model.version}`,
  ].filter(Boolean).join(" · ");
  if (model.writing) beginWriting(model);
  const names = Object.keys(model.signatures);
  for (const name of names) $("signature").append(new Option(name, name));
  $("signature").value = names.includes(model.default) ? model.default : names[0];
  $("signatures").hidden = names.length === 1;

  let inputs = [];
  const forAll = (act) => inputs.forEach((input) => {
    input.note(null, null);
    act(input);
  });
  const example = () => forAll((input) => input.example?.());
  const build = () => {
    const specs = model.signatures[$("signature").value].inputs;
    inputs = specs.map((spec) => inputOf(spec, specs.length === 1, model.card));
    // Wide ones after the small ones, which then form one grid.
    inputs.sort((a, b) => a.wide - b.wide);
    const fields = document.createElement("div");
    fields.className = "fields";
    for (const input of inputs) {
      input.element.classList.toggle("wide", input.wide);
      fields.append(input.element);
    }
    $("inputs").replaceChildren(fields);
    for (const input of inputs) input.ready?.();
    const known = inputs.some((input) => input.example);
    $("example").hidden = !known;
    $("made-up").hidden = !known;
    example();
  };
  $("signature").addEventListener("change", build);
  build();

  $("example").addEventListener("click", example);
  $("clear").addEventListener("click", () => forAll((input) => input.clear()));
  $("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("predict").disabled = true;
    forAll(() => {});
    try {
      await ask(model, $("signature").value, inputs);
    } catch (error) {
      fail(error.message);
      pointAt(inputs.find(({ name }) => name === error.input), error.message);
    } finally {
      $("predict").disabled = false;
    }
  });
}

function pointAt(input, sentence) {
  if (!input) return;
  input.note("wrong", sentence);
  input.element.querySelector("input, select, textarea")?.focus();
}

async function ask(model, signature, inputs) {
  // By hand, for JSON.stringify has no NaN, and a missing number is one.
  const row = inputs
    .map((input) => `${JSON.stringify(input.name)}:${input.json()}`)
    .join(",");
  const chosen = signature === model.default
    ? "" : `"signature_name":${JSON.stringify(signature)},`;
  const body = `{${chosen}"instances":[{${row}}]}`;
  const path = `v1/models/${model.name}:predict`;
  const began = performance.now();
  let answer;
  try {
    answer = await fetch(path, { method: "POST", body });
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  const text = await answer.text();
  const took = performance.now() - began;
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Error(`The server answered what is no JSON: ${text.slice(0, 200)}`);
  }
  if (!answer.ok) {
    const error = new Error(content.error ?? `Status ${answer.status}`);
    throw Object.assign(error, { input: content.input });
  }
  const outputs = model.signatures[signature].outputs;
  const prediction = content.predictions[0];
  // One output comes without its name.
  const named = outputs.length === 1 ? { [outputs[0].name]: prediction } : prediction;
  const unusual = content.warnings ?? [];
  for (const { input: name, warning } of unusual) {
    inputs.find((input) => input.name === name)?.note("unusual", warning);
  }
  show(named, outputs, model.card, {
    took, unusual: unusual.length, request: `POST /${path}\n\n${body}`, response: text,
  });
}

begin().catch((error) => fail(`The page could not begin: ${error.message}`));
