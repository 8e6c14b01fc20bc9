// Tools: functions as JSON schema that the reader writes; the model's calls of them are shown in the chat.

import { byId, make, shown } from "/page/dom.js";

const EXAMPLE = [{
  type: "function",
  function: {
    name: "price",
    description: "The price of some of an item in silver coins",
    parameters: {
      type: "object",
      properties: { item: { type: "string" }, count: { type: "integer" } },
      required: ["item", "count"],
    },
  },
}];

let tools = [];

/** What a request says of tools: nothing while they are off. */
export function chosenTools(isAfterResult) {
  if (!byId("tools-on").checked || !tools.length) return {};
  return { tools, tool_choice: isAfterResult ? "auto" : byId("tools-choice").value };
}

/** Tools of a JSON text: a list, or one; OpenAI's form, or only the function. Throws an Error that says what is wrong. */
function read(text) {
  if (!text.trim()) return [];
  const document = JSON.parse(text);
  return (Array.isArray(document) ? document : [document]).map((entry, i) => {
    const found = entry?.function ?? entry;
    if (typeof found?.name !== "string" || !found.name) throw new Error(`Function ${i + 1} has no name.`);
    const { name, description, parameters } = found;
    return { type: "function", function: { name, ...(description && { description }), ...(parameters && { parameters }) } };
  });
}

function update() {
  const area = byId("tools-text"), status = byId("tools-status");
  try {
    tools = read(area.value);
    status.textContent = "";
    area.removeAttribute("aria-invalid");
  } catch (error) {
    tools = [];
    status.textContent = shown(`This cannot be read: ${error.message}`);
    area.setAttribute("aria-invalid", "true");
  }
  byId("tools-list").replaceChildren(...tools.map(({ function: tool }) =>
    make("li", { class: "card" }, make("b", {}, shown(tool.name)), make("p", {}, shown(tool.description ?? "no description")),
      make("p", { class: "small" }, shown(Object.keys(tool.parameters?.properties ?? {}).join(", ") || "no arguments")))));
  const count = byId("tools-count");
  count.hidden = !(byId("tools-on").checked && tools.length);
  count.textContent = tools.length;
  count.setAttribute("aria-label", `${tools.length} in use`);
}

export function setUpTools() {
  byId("tools-text").addEventListener("input", update);
  byId("tools-on").addEventListener("change", update);
  byId("tools-example").addEventListener("click", () => {
    byId("tools-text").value = JSON.stringify(EXAMPLE, null, 2);
    byId("tools-on").checked = true;
    update();
  });
  update();
}
