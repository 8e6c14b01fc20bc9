// Characters: cards are dropped, the server reads them, a session is a scene with one.

import * as api from "/page/api.js";
import { byId, make, onFiles, shown } from "/page/dom.js";

let begin = () => {};
let currentModel = () => undefined;
const pictures = new Map(); // character id -> object URL of the PNG that it came in

export function setUpCharacters(model, onScene) {
  currentModel = model;
  begin = onScene;
  onFiles(byId("card-drop"), byId("card-file"), take);
}

async function take(files) {
  const status = byId("card-status");
  const faults = [];
  for (const file of files) {
    status.textContent = shown(`Reading ${file.name} …`);
    try {
      const character = await api.ask("/v1/characters", { body: file, type: file.type || "application/octet-stream" });
      if (file.type === "image/png") pictures.set(character.id, URL.createObjectURL(file));
    } catch (error) {
      faults.push(`${file.name}: ${error.message}`);
    }
  }
  await list().catch((error) => faults.push(error.message));
  status.textContent = shown(faults.join(" "));
}

/** Shows the characters that the server knows. */
export async function list() {
  const { data } = await api.ask("/v1/characters");
  byId("cards").replaceChildren(...data.map(card));
}

function card(character) {
  const picture = pictures.has(character.id)
    ? make("img", { class: "portrait", src: pictures.get(character.id), alt: "" })
    : make("span", { class: "portrait", "aria-hidden": "true" }, shown(character.name).slice(0, 1).toUpperCase());
  const about = make("div", { class: "about" }, make("b", { dir: "auto" }, shown(character.name)), make("p", { class: "greeting", dir: "auto" }, shown(character.greeting).slice(0, 400)));
  for (const warning of character.warnings.slice(0, 3)) about.append(make("p", { class: "small" }, shown(warning)));
  const play = make("button", { type: "button", class: "main-button", "aria-label": shown(`Play with ${character.name}`), onclick: () => start(character, play) }, "Play");
  return make("li", { class: "card person" }, picture, about, play);
}

async function start(character, button) {
  const status = byId("card-status");
  button.disabled = true;
  status.textContent = shown(`${character.name} gets ready …`);
  try {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const user = byId("player").value.trim() || "Traveller";
    const session = await api.ask("/v1/sessions", { body: { character: character.id, model: currentModel(), user, seed } });
    status.textContent = "";
    begin(session, byId("scene").value.trim());
  } catch (error) {
    status.textContent = shown(error.message);
  }
  button.disabled = false;
}
