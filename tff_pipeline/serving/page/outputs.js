// What a model answered: probabilities as bars, the rest as a table.

const MOST_BARS = 12;
const $ = (id) => document.getElementById(id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function fail(sentence) {
  $("message").className = "wrong";
  $("message").textContent = sentence;
  $("bars").replaceChildren();
  $("others").hidden = true;
  $("raw").hidden = true;
}

export function show(outputs, specs, card, took, request, response) {
  const message = $("message");
  message.className = "";
  const probabilities = distribution(outputs, specs);
  if (probabilities) {
    const best = probabilities.indexOf(Math.max(...probabilities));
    const name = typeof outputs.class_name === "string"
      ? outputs.class_name
      : nameOf(best, card, probabilities.length);
    message.replaceChildren(element("strong", "", name));
    message.append(` with ${percent(probabilities[best])}, in ${took.toFixed(0)} ms`);
  } else {
    message.textContent = `Answered in ${took.toFixed(0)} ms.`;
  }
  bars(probabilities, card);
  table(outputs, probabilities);
  $("command").textContent = request;
  $("response").textContent = response;
  $("raw").hidden = false;
}

// The output that is a probability for each class: by its name, or by numbers
// from 0 to 1 whose sum is 1.
function distribution(outputs, specs) {
  const lists = specs
    .filter(({ dtype }) => /float/.test(dtype))
    .map(({ name }) => [name, outputs[name]])
    .filter(([, value]) => Array.isArray(value) && value.length > 1
      && value.every((each) => typeof each === "number" && each >= 0 && each <= 1));
  const named = lists.find(([name]) => name === "probabilities");
  const summed = lists.find(([, value]) =>
    Math.abs(value.reduce((sum, each) => sum + each, 0) - 1) < 1e-3);
  return (named ?? summed)?.[1];
}

// Names only where there is one for each class.
function nameOf(place, card, classes) {
  return card.classes?.length === classes ? card.classes[place] : String(place);
}

function percent(probability) {
  return `${(100 * probability).toFixed(1)}%`;
}

function bars(probabilities, card) {
  const into = $("bars");
  into.replaceChildren();
  if (!probabilities) return;
  const classes = probabilities.length;
  let shown = probabilities.map((_, place) => place);
  const best = probabilities.indexOf(Math.max(...probabilities));
  if (classes > MOST_BARS) {
    shown.sort((a, b) => probabilities[b] - probabilities[a]);
    shown = shown.slice(0, MOST_BARS);
  }
  into.setAttribute("role", "list");
  into.setAttribute("aria-label", "Probabilities of classes");
  for (const place of shown) {
    const row = element("div", place === best ? "best" : "");
    row.setAttribute("role", "listitem");
    const track = element("span", "track");
    const filled = element("span", "filled");
    filled.style.display = "block";
    filled.style.width = percent(probabilities[place]);
    track.append(filled);
    row.append(
      element("span", "class", nameOf(place, card, classes)), track,
      element("span", "percent", percent(probabilities[place])),
    );
    into.append(row);
  }
  if (shown.length < classes) {
    into.append(element("div", "", ""));
    into.lastChild.append(element("span", "hint", `the likeliest ${shown.length} of ${classes} classes`));
  }
}

function table(outputs, drawn) {
  const body = $("others").tBodies[0];
  $("others").caption.textContent = drawn ? "Other outputs" : "Outputs";
  body.replaceChildren();
  for (const [name, value] of Object.entries(outputs)) {
    if (value === drawn) continue;
    const row = body.insertRow();
    const head = element("th", "", name);
    head.scope = "row";
    row.append(head);
    row.insertCell().textContent = written(value);
  }
  $("others").hidden = body.rows.length === 0;
}

function written(value) {
  if (value === null) return "not finite";
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(4)));
  if (!Array.isArray(value)) return typeof value === "object" ? JSON.stringify(value) : String(value);
  const shown = value.slice(0, 40).map(written).join(", ");
  return `[${shown}${value.length > 40 ? `, … ${value.length} in all` : ""}]`;
}
