// Puts the page together: language, views, models, theme, settings.

import * as api from "/page/api.js";
import * as characters from "/page/characters.js";
import { beginScene, fresh, reopen, setUpChat } from "/page/chat.js";
import * as documents from "/page/documents.js";
import { byId, make, shown, turnTo } from "/page/dom.js";
import { chooseLanguage, language, LANGUAGES, setUpLanguage, t } from "/page/language.js";
import { changed, list, setUpList } from "/page/list.js";
import { listModels, model, setUpModels } from "/page/models.js";
import { setUpPanel } from "/page/panel.js";
import { isOnServer, keepOnServer, store } from "/page/store.js";
import { setUpTheme } from "/page/theme.js";
import { setUpTools } from "/page/tools.js";

const VIEWS = ["chat", "characters", "documents", "tools"];

function view() {
  const name = location.hash.slice(1);
  return VIEWS.includes(name) ? name : "chat";
}

function showView() {
  turnTo(view(), VIEWS);
  const refresh = { characters: characters.list, documents: () => documents.list() }[view()];
  refresh?.().catch(() => {});
}

function openSettings(why = "") {
  byId("settings-why").textContent = why;
  byId("settings-why").hidden = !why;
  byId("key").value = api.key();
  byId("on-server").checked = isOnServer();
  if (!byId("settings").open) byId("settings").showModal();
  if (why) byId("key").focus();
}

function setUpSettings() {
  api.onKeyNeeded(() => openSettings(t("This server asks for a key.")));
  byId("open-settings").addEventListener("click", () => openSettings());
  byId("language").replaceChildren(...Object.entries(LANGUAGES).map(([code, name]) => make("option", { value: code, lang: code }, name)));
  byId("language").value = language();
  byId("language").addEventListener("change", (event) => chooseLanguage(event.target.value));
  byId("on-server").addEventListener("change", chooseStore);
  byId("settings").addEventListener("close", () => {
    if (byId("key").value.trim() === api.key()) return;
    api.setKey(byId("key").value.trim());
    listModels().then(showView).then(list).catch(() => {});
  });
}

/** The server may keep none: then the browser goes on keeping them. */
async function chooseStore() {
  keepOnServer(byId("on-server").checked);
  try {
    await store().list();
    byId("store-status").textContent = "";
  } catch (error) {
    keepOnServer(false);
    byId("on-server").checked = false;
    byId("store-status").textContent = shown(error.message);
  }
  fresh();
  await list();
}

function greet() {
  const hour = new Date().getHours();
  byId("hello").textContent = t(hour < 5 ? "Still up?" : hour < 12 ? "Good morning." : hour < 18 ? "Good afternoon." : "Good evening.");
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
await setUpLanguage();
setUpTheme();
setUpSettings();
setUpTools();
setUpPanel();
setUpModels();
setUpChat(model, changed);
setUpList();
characters.setUpCharacters(model, (scene, history) => {
  location.hash = "chat";
  showView();
  beginScene(scene, history);
});
documents.setUpDocuments(model);
greet();
listModels().catch(() => {});
reopen().then(list);
showView();
