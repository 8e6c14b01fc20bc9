// Tools: functions as JSON schema that the reader writes; the model's calls of them are shown in the chat.

import { byId, make, shown } from "/page/dom.js";
import { argumentForm } from "/page/forms.js";
import { t } from "/page/language.js";

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

/** The schema of a function's arguments, by its name. */
export const schemaOf = (name) => tools.find(({ function: tool }) => tool.name === name)?.function.parameters;

/** Tools of a JSON text: a list, or one; OpenAI's form, or only the function. Throws an Error that says what is wrong. */
function read(text) {
  if (!text.trim()) return [];
  const document = JSON.parse(text);
  return (Array.isArray(document) ? document : [document]).map((entry, i) => {
    const found = entry?.function ?? entry;
    if (typeof found?.name !== "string" || !found.name) throw new Error(t("Function {number} has no name.", { number: i + 1 }));
    const { name, description, parameters } = found;
    return { type: "function", function: { name, ...(description && { description }), ...(parameters && { parameters }) } };
  });
}

/** A function with the form that its calls are shown in. */
function card(tool) {
  const call = make("code", {}, "{}");
  const form = argumentForm(tool.parameters, "{}", (values) => { call.textContent = shown(JSON.stringify(values)); });
  const about = make("li", { class: "card" }, make("b", {}, shown(tool.name)), make("p", {}, shown(tool.description ?? t("no description"))));
  if (!form) about.append(make("p", { class: "small" }, t("no arguments")));
  else about.append(make("details", {}, make("summary", { class: "small" }, shown(Object.keys(tool.parameters.properties).join(", "))), form, make("pre", {}, call)));
  return about;
}

function update() {
  const area = byId("tools-text"), status = byId("tools-status");
  try {
    tools = read(area.value);
    status.textContent = "";
    area.removeAttribute("aria-invalid");
  } catch (error) {
    tools = [];
    status.textContent = shown(t("This cannot be read: {why}", { why: error.message }));
    area.setAttribute("aria-invalid", "true");
  }
  byId("tools-list").replaceChildren(...tools.map(({ function: tool }) => card(tool)));
  const count = byId("tools-count");
  count.hidden = !(byId("tools-on").checked && tools.length);
  count.textContent = tools.length;
  count.setAttribute("aria-label", t("{count} in use", { count: tools.length }));
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
