// What a model answered: probabilities as bars, or predicted numbers by the
// names of their labels; all else as a table, which is folded away below these.

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

// `facts` has the milliseconds it took, how many values are unusual, and the
// request and the response as text.
export function show(outputs, specs, card, facts) {
  const message = $("message");
  message.className = "";
  const took = `in ${facts.took.toFixed(0)} ms`;
  const probabilities = distribution(outputs, specs);
  const numbers = probabilities ? null : predicted(outputs, card);
  if (probabilities) {
    const best = probabilities.indexOf(Math.max(...probabilities));
    const name = typeof outputs.class_name === "string"
      ? outputs.class_name
      : nameOf(best, card, probabilities.length);
    message.replaceChildren(element("strong", "", name));
    message.append(` with ${percent(probabilities[best])}, ${took}`);
  } else if (numbers) {
    message.replaceChildren(element("strong", "", numbers));
    message.append(`, ${took}`);
  } else {
    message.textContent = `Answered ${took}.`;
  }
  if (facts.unusual) {
    const values = facts.unusual === 1 ? "A value is" : `${facts.unusual} values are`;
    message.append(element("span", "unusual", `${values} unusual: see the form.`));
  }
  bars(probabilities, card);
  table(outputs, probabilities ?? (numbers ? outputs.value : null));
  $("command").textContent = facts.request;
  $("response").textContent = facts.response;
  $("raw").hidden = false;
  // On a phone it is below the form.
  message.scrollIntoView({ block: "nearest" });
}

// The predicted numbers, "price = 3.2, rent = 1.5"; null if there are none.
function predicted({ value }, card) {
  const labels = card.labels ?? [];
  const values = Array.isArray(value) ? value : [value];
  if (!values.every((each) => typeof each === "number" || each === null)) return null;
  if (values.length !== labels.length) {
    return Array.isArray(value) || value === undefined ? null : written(value);
  }
  return values.map((each, place) => `${labels[place]} = ${written(each)}`).join(", ");
}

// The output that is a probability for each class: by its name (of two classes
// it may be the second's alone), or by numbers from 0 to 1 whose sum is 1.
function distribution(outputs, specs) {
  const lists = specs
    .filter(({ dtype }) => /float/.test(dtype))
    .map(({ name }) => [name, outputs[name]])
    .filter(([name, value]) => Array.isArray(value)
      && value.length > (name === "probabilities" ? 0 : 1)
      && value.every((each) => typeof each === "number" && each >= 0 && each <= 1));
  const named = lists.find(([name]) => name === "probabilities");
  const summed = lists.find(([, value]) =>
    Math.abs(value.reduce((sum, each) => sum + each, 0) - 1) < 1e-3);
  return (named ?? summed)?.[1];
}

// Names only where there is one for each class.
function nameOf(place, card, classes) {
  if (classes === 1) return card.labels?.[0] ?? "probability";
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
  const body = $("others").querySelector("tbody");
  const folded = drawn !== undefined && drawn !== null;
  $("others").open = !folded;
  $("others").firstElementChild.textContent = folded ? "Other outputs" : "Outputs";
  body.replaceChildren();
  for (const [name, value] of Object.entries(outputs)) {
    if (folded && value === drawn) continue;
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
