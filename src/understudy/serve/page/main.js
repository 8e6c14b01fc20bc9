// Puts the page together: views, models, theme, settings.

import * as api from "/page/api.js";
import * as characters from "/page/characters.js";
import { beginScene, setUpChat } from "/page/chat.js";
import * as documents from "/page/documents.js";
import { byId, make, shown, turnTo } from "/page/dom.js";
import { setUpTheme } from "/page/theme.js";
import { setUpTools } from "/page/tools.js";

const VIEWS = ["chat", "characters", "documents", "tools"];
const model = () => byId("model").value || undefined;

function view() {
  const name = location.hash.slice(1);
  return VIEWS.includes(name) ? name : "chat";
}

function showView() {
  turnTo(view(), VIEWS);
  const refresh = { characters: characters.list, documents: () => documents.list() }[view()];
  refresh?.().catch(() => {});
}

async function listModels() {
  const { data } = await api.ask("/v1/models");
  byId("model").replaceChildren(...data.map(({ id }) => make("option", { value: id }, shown(id))));
}

function settings() {
  const temperature = byId("temperature").valueAsNumber, maxTokens = byId("max-tokens").valueAsNumber;
  return {
    model: model(), system: byId("system").value.trim(),
    temperature: Number.isFinite(temperature) ? temperature : undefined, maxTokens: Number.isFinite(maxTokens) ? maxTokens : undefined,
  };
}

function openSettings(why = "") {
  byId("settings-why").textContent = why;
  byId("settings-why").hidden = !why;
  byId("key").value = api.key();
  if (!byId("settings").open) byId("settings").showModal();
  if (why) byId("key").focus();
}

function setUpSettings() {
  api.onKeyNeeded(() => openSettings("This server asks for a key."));
  byId("open-settings").addEventListener("click", () => openSettings());
  byId("settings").addEventListener("close", () => {
    if (byId("key").value.trim() === api.key()) return;
    api.setKey(byId("key").value.trim());
    listModels().then(showView).catch(() => {});
  });
}

function greet() {
  const hour = new Date().getHours();
  byId("hello").textContent = hour < 5 ? "Still up?" : hour < 12 ? "Good morning." : hour < 18 ? "Good afternoon." : "Good evening.";
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  (view() === "chat" ? byId("say") : byId("main")).focus();
});
// A file that misses its field must not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
addEventListener("hashchange", () => {
  showView();
  if (!byId(`view-${view()}`).contains(document.activeElement)) byId(`title-${view()}`).focus({ preventScroll: true });
});
setUpTheme();
setUpSettings();
setUpTools();
setUpChat(settings);
characters.setUpCharacters(model, (session, place) => {
  location.hash = "chat";
  showView();
  beginScene(session, place);
});
documents.setUpDocuments(model);
greet();
listModels().catch(() => {});
showView();
if (matchMedia("(hover: hover)").matches && view() === "chat") byId("say").focus();
