// The list of conversations: found, opened, renamed, exported, imported, removed.

import { current, fresh, open } from "/page/chat.js";
import { announce, byId, make, shown } from "/page/dom.js";
import { fromFile, toJson, toMarkdown, toSillyTavern } from "/page/exchange.js";
import { t } from "/page/language.js";
import { store, summaryOf } from "/page/store.js";

let summaries = []; // what is shown

const tell = (text) => { byId("list-status").textContent = shown(text); };
const guarded = (work) => (...inputs) => work(...inputs).catch((error) => tell(error.message));

export function setUpList() {
  let timer = 0;
  byId("find").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(guarded(list), 150); });
  byId("list-fresh").addEventListener("click", () => { fresh(); hide(); byId("say").focus(); });
  byId("import-file").addEventListener("change", guarded(async (event) => {
    const files = [...event.target.files];
    event.target.value = "";
    for (const file of files) await take(file);
  }));
  byId("open-list").addEventListener("click", () => toggle(byId("list"), byId("open-list")));
  byId("open-panel").addEventListener("click", () => toggle(byId("panel"), byId("open-panel")));
  if (matchMedia("(min-width: 70rem)").matches) toggle(byId("list"), byId("open-list"));
}

function toggle(aside, button) {
  aside.hidden = !aside.hidden;
  button.setAttribute("aria-expanded", String(!aside.hidden));
}

/** On a narrow screen the list lies over the chat, and goes once something is chosen. */
function hide() {
  if (!matchMedia("(min-width: 70rem)").matches && !byId("list").hidden) toggle(byId("list"), byId("open-list"));
}

/** Reads what is kept, and what of it holds the words that are looked for, and shows it. */
export const list = guarded(async () => {
  summaries = await store().list(byId("find").value.trim());
  draw();
});

/** A conversation was kept, or (none) another one is open: no need to read them all again. */
export function changed(conversation) {
  if (conversation && byId("find").value) return list();
  if (conversation) summaries = [summaryOf(conversation), ...summaries.filter(({ id }) => id !== conversation.id)];
  draw();
}

function draw() {
  tell(summaries.length || !byId("find").value ? "" : t("Nothing was found."));
  byId("conversations").replaceChildren(...summaries.map(row));
}

function row(summary) {
  const isOpen = summary.id === current().id;
  const title = shown(summary.title || t("Without a title"));
  const chosen = make("button", { type: "button", class: "conversation", "aria-current": isOpen ? "true" : undefined, dir: "auto", onclick: guarded(async () => {
    open(await store().get(summary.id));
    await list();
    hide();
  }) }, title);
  const menu = make("details", { class: "menu" }, make("summary", { "aria-label": t("More about {title}", { title }) }, "⋯"), make("div", { class: "menu-items" },
    item(t("Rename"), () => rename(summary, line)),
    item(t("Export as JSON"), () => exported(summary, "json", toJson)),
    item(t("Export as Markdown"), () => exported(summary, "md", toMarkdown)),
    item(t("Export for SillyTavern"), () => exported(summary, "jsonl", toSillyTavern)),
    item(t("Delete"), () => remove(summary))));
  const line = make("li", {}, chosen, menu);
  return line;
}

const item = (label, work) => make("button", { type: "button", class: "link", onclick: guarded(async (event) => {
  event.target.closest("details").open = false;
  await work();
}) }, label);

async function rename(summary, line) {
  const field = make("input", { type: "text", "aria-label": t("New title"), maxlength: "120" });
  field.value = summary.title;
  const done = guarded(async () => {
    const kept = summary.id === current().id ? current() : await store().get(summary.id);
    kept.title = field.value.trim() || summary.title;
    await store().put(kept);
    await list();
  });
  line.replaceChildren(make("form", { class: "rename", onsubmit: (event) => { event.preventDefault(); done(); }, onkeydown: (event) => { if (event.key === "Escape") { event.stopPropagation(); list(); } } }, field));
  field.select();
}

async function exported(summary, ending, write) {
  const kept = await store().get(summary.id);
  const names = { user: kept.scene?.user ?? t("You"), assistant: kept.scene?.name ?? t("Model"), tool: t("Result") };
  const url = URL.createObjectURL(new Blob([write(kept, names)], { type: "text/plain" }));
  const name = (kept.title || "conversation").replace(/[^\p{L}\p{N} _-]+/gu, "").trim().slice(0, 60) || "conversation";
  make("a", { href: url, download: `${name}.${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function remove(summary) {
  await store().remove(summary.id);
  if (summary.id === current().id) fresh();
  await list();
  announce(t("Deleted."));
}

async function take(file) {
  let found;
  try {
    found = fromFile(file.name, await file.text());
  } catch (error) {
    throw new Error(`${file.name}: ${error.message}`);
  }
  for (const one of found) await store().put(one);
  open(found[0]);
  await list();
}
