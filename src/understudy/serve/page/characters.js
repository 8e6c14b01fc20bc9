// Characters: cards are dropped, the server reads them; a scene begins with a greeting that the player chooses.

import * as api from "/page/api.js";
import { byId, make, onFiles, shown } from "/page/dom.js";
import { t } from "/page/language.js";
import { openSession } from "/page/scene.js";
import { cards } from "/page/store.js";

let begin = () => {};
let currentModel = () => undefined;
let books = []; // lorebooks as {name, document}
const tell = (text) => { byId("card-status").textContent = shown(text); };

export function setUpCharacters(model, onScene) {
  currentModel = model;
  begin = onScene;
  onFiles(byId("card-drop"), byId("card-file"), take);
  byId("book-file").addEventListener("change", async (event) => {
    const files = [...event.target.files];
    event.target.value = "";
    for (const file of files) await addBook(file);
    showBooks();
  });
}

async function addBook(file) {
  try {
    books.push({ name: file.name, document: JSON.parse(await file.text()) });
    tell("");
  } catch (error) {
    tell(`${file.name}: ${error.message}`);
  }
}

function showBooks() {
  byId("books").replaceChildren(...books.map((book) => make("li", {}, make("button", {
    type: "button", class: "chip", "aria-label": t("Leave out {name}", { name: book.name }),
    onclick: () => { books = books.filter((other) => other !== book); showBooks(); },
  }, `${shown(book.name)} ×`))));
}

async function take(files) {
  const faults = [];
  for (const file of files) {
    tell(t("Reading {name} …", { name: file.name }));
    try {
      const character = await api.ask("/v1/characters", { body: file, type: file.type || "application/octet-stream" });
      await cards.put({ id: character.id, file, isPicture: file.type === "image/png" }).catch(() => {});
    } catch (error) {
      faults.push(`${file.name}: ${error.message}`);
    }
  }
  await list().catch((error) => faults.push(error.message));
  tell(faults.join(" "));
}

/** Shows the characters that the server knows. */
export async function list() {
  const { data } = await api.ask("/v1/characters");
  byId("cards").replaceChildren(...(await Promise.all(data.map(card))));
}

async function card(character) {
  const kept = await cards.get(character.id).catch(() => null);
  const picture = kept?.isPicture
    ? make("img", { class: "portrait", src: URL.createObjectURL(kept.file), alt: "" })
    : make("span", { class: "portrait", "aria-hidden": "true" }, shown(character.name).slice(0, 1).toUpperCase());
  const greeting = make("p", { class: "greeting", dir: "auto" }, shown(character.greeting).slice(0, 400));
  const about = make("div", { class: "about" }, make("b", { dir: "auto" }, shown(character.name)), greeting);
  const choice = character.num_greetings > 1 ? greetings(character, greeting) : null;
  if (choice) about.append(choice);
  for (const warning of character.warnings.slice(0, 3)) about.append(make("p", { class: "small" }, shown(warning)));
  const play = make("button", { type: "button", class: "main-button", "aria-label": shown(t("Play with {name}", { name: character.name })), onclick: () => start(character, play, Number(choice?.value ?? 0)) }, t("Play"));
  const away = make("button", { type: "button", class: "link", "aria-label": shown(t("Remove {name}", { name: character.name })), onclick: () =>
    api.ask(`/v1/characters/${character.id}`, { method: "DELETE" }).then(list).catch((error) => tell(error.message)) }, t("Remove"));
  return make("li", { class: "card person" }, picture, about, make("div", { class: "person-end" }, play, away));
}

/** A choice of greetings; each is read where it is chosen. */
function greetings(character, place) {
  const select = make("select", { class: "plain", "aria-label": shown(t("How {name} begins", { name: character.name })) },
    ...Array.from({ length: character.num_greetings }, (_, i) => make("option", { value: String(i) }, t("Greeting {number}", { number: i + 1 }))));
  select.addEventListener("change", async () => {
    const { card: document } = await api.ask(`/v1/characters/${character.id}`);
    const data = document.data ?? document;
    const texts = [data.first_mes, ...(data.alternate_greetings ?? [])].filter(Boolean);
    place.textContent = shown(texts[Number(select.value)] ?? "").slice(0, 400);
  });
  return select;
}

async function start(character, button, greeting) {
  button.disabled = true;
  tell(t("{name} gets ready …", { name: character.name }));
  const scene = {
    character: character.id, name: character.name, greeting, seed: Math.floor(Math.random() * 2 ** 31),
    user: byId("player").value.trim() || "Traveller", persona: byId("persona").value.trim(),
    place: byId("scene").value.trim(), books: books.map((book) => book.document),
  };
  try {
    const session = await openSession(scene, currentModel());
    tell("");
    begin({ ...scene, session: session.id }, session.history);
  } catch (error) {
    tell(error.message);
  }
  button.disabled = false;
}
