// A text that a model goes on with, or a chat that it answers.
const $ = (id) => document.getElementById(id);
const SETTINGS = ["length", "temperature", "top_p", "seed"];

export function begin(model) {
  const { chats, top_p: narrows } = model.writing;
  const messages = [];
  document.querySelector("main").prepend($("writing-template").content.cloneNode(true));
  $("top-p").hidden = !narrows;
  if (chats) {
    $("writing-title").textContent = "Chat";
    $("prompt-label").textContent = "Your message";
    $("write").textContent = "Send";
  }
  $("write-anew").addEventListener("click", () => {
    messages.length = 0;
    $("prompt").value = "";
    show(messages);
    say("");
  });
  $("writing-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const prompt = $("prompt").value;
    const question = chats
      ? { messages: [...messages, { role: "user", content: prompt }] }
      : { prompt };
    for (const name of SETTINGS) {
      if (name !== "top_p" || narrows) question[name] = $(name).valueAsNumber;
    }
    $("write").disabled = true;
    say("It writes ...");
    try {
      const began = performance.now();
      const { text, tokens } = await ask(model.name, question);
      if (chats) {
        messages.push(question.messages.at(-1), { role: "assistant", content: text });
        $("prompt").value = "";
        show(messages);
      } else {
        $("prompt").value = prompt + text;
      }
      const count = tokens === undefined ? "" : `${tokens} tokens `;
      say(`${count}in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    } catch (error) {
      say(error.message, true);
      document.getElementById(error.input === "messages" ? "prompt" : error.input)?.focus();
    } finally {
      $("write").disabled = false;
    }
  });
}

function say(sentence, wrong = false) {
  $("writing-message").className = wrong ? "wrong" : "";
  $("writing-message").textContent = sentence;
}

// What a model writes is text, and never a part of the page.
function show(messages) {
  $("chat").hidden = messages.length === 0;
  $("chat").replaceChildren(...messages.map(({ role, content }) => {
    const item = document.createElement("li");
    item.className = role;
    const who = document.createElement("span");
    who.className = "quiet";
    who.textContent = role === "user" ? "You" : "Model";
    const said = document.createElement("p");
    said.textContent = content;
    item.append(who, said);
    return item;
  }));
}

async function ask(name, question) {
  let answer;
  try {
    answer = await fetch(`v1/models/${name}:generate`, {
      method: "POST", body: JSON.stringify(question),
    });
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  const content = await answer.json();
  if (!answer.ok) {
    throw Object.assign(new Error(content.error), { input: content.input });
  }
  return content;
}
