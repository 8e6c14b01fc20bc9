// Documents: files go into a collection, questions are answered with quotes, a quote is shown where it stands.

import * as api from "/page/api.js";
import { announce, byId, growing, make, onFiles, shown } from "/page/dom.js";
import { t } from "/page/language.js";
import { Markdown } from "/page/markdown.js";

const AROUND = 20_000; // characters of a long source that are shown on each side of a quote

let currentModel = () => undefined;
const path = (...parts) => ["/v1/collections", ...parts.map(encodeURIComponent)].join("/");
const chosen = () => byId("collection").value;
const tell = (text) => { byId("document-status").textContent = shown(text); };
const guarded = (work) => (...inputs) => work(...inputs).catch((error) => tell(error.message));

export function setUpDocuments(model) {
  currentModel = model;
  const area = byId("question");
  growing(area);
  onFiles(byId("document-drop"), byId("document-file"), guarded(take));
  byId("collection").addEventListener("change", guarded(listNames));
  byId("new-collection").addEventListener("submit", guarded(async (event) => {
    event.preventDefault();
    const field = byId("collection-name");
    if (!field.value.trim()) return field.focus();
    await create(field.value.trim());
    field.value = "";
  }));
  byId("ask").addEventListener("submit", guarded(async (event) => {
    event.preventDefault();
    if (area.value.trim()) await question(area.value.trim());
  }));
}

async function create(name) {
  await api.ask("/v1/collections", { body: { name } });
  await list(name);
}

/** Shows the collections of the server and the documents of the chosen one. */
export async function list(wanted = chosen()) {
  const { data } = await api.ask("/v1/collections");
  const select = byId("collection");
  select.replaceChildren(...data.map(({ id }) => make("option", { value: id }, id)));
  select.disabled = !data.length;
  if (!data.length) select.append(make("option", { value: "" }, t("none yet")));
  if (data.some(({ id }) => id === wanted)) select.value = wanted;
  await listNames();
}

async function listNames() {
  const names = chosen() ? (await api.ask(path(chosen()))).names : [];
  byId("names").replaceChildren(...names.map((name) => make("li", { class: "name" },
    make("button", { type: "button", class: "chip", dir: "auto", onclick: guarded(() => showSource(name, [])) }, shown(name)),
    make("button", { type: "button", class: "link", "aria-label": shown(t("Remove {name}", { name })), onclick: guarded(async () => {
      await api.ask(path(chosen(), "documents", name), { method: "DELETE" });
      await listNames();
    }) }, "×"))));
}

/** One file after another, so that it is seen how far they are. */
async function take(files) {
  if (!files.length) return;
  if (!chosen()) await create("documents");
  const bar = byId("document-progress"), added = [], faults = [];
  bar.hidden = false;
  for (const [i, file] of files.entries()) {
    bar.value = i / files.length;
    tell(t("Reading {name} ({number} of {count}) …", { name: file.name, number: i + 1, count: files.length }));
    const form = new FormData();
    form.append("files", file, file.name);
    try {
      const found = await api.ask(path(chosen(), "documents"), { body: form });
      added.push(...found.added);
      faults.push(...Object.entries(found.failed).map(([name, why]) => `${name}: ${why}`));
    } catch (error) {
      faults.push(error.message.includes(file.name) ? error.message : `${file.name}: ${error.message}`);
    }
  }
  bar.hidden = true;
  await listNames();
  const done = added.length === 1 ? t("{name} can be asked now.", { name: added[0] }) : added.length ? t("{count} documents can be asked now.", { count: added.length }) : "";
  tell([done, ...faults].join(" "));
}

async function question(text) {
  if (!chosen()) return tell(t("Drop a document first."));
  const box = byId("answer"), send = byId("ask-send");
  send.disabled = true;
  byId("source").hidden = true;
  box.hidden = false;
  box.replaceChildren(make("p", { class: "note" }, t("Looking …")));
  try {
    showAnswer(await api.ask(path(chosen(), "ask"), { body: { question: text, model: currentModel() } }));
  } catch (error) {
    box.replaceChildren(make("p", { class: "fault" }, shown(error.message)));
  }
  send.disabled = false;
}

function showAnswer(answer) {
  const box = byId("answer");
  const text = make("div", { class: answer.is_answered ? "text markdown" : "note", dir: "auto" });
  if (answer.is_answered) {
    const written = new Markdown(text);
    written.add(answer.answer);
    written.flush();
  } else text.append(t("The documents do not say."));
  box.replaceChildren(text);
  if (!answer.citations.length) return;
  const quotes = answer.citations.map((citation) => make("li", {}, make("button", {
    type: "button", class: "quote", dir: "auto",
    onclick: guarded(() => showSource(citation.document, answer.citations.filter((other) => other.document === citation.document), citation)),
  }, make("q", {}, shown(citation.quote)), make("small", {}, shown(citation.document + (citation.page ? `, ${t("page {number}", { number: citation.page })}` : ""))))));
  box.append(make("ol", { class: "quotes", "aria-label": t("Quotes; choose one to see it in its source") }, ...quotes));
}

/** Shows a document with quotes marked. Their places count code points, as the server's do; JavaScript's strings count otherwise. */
async function showSource(name, citations, current) {
  const { text } = await api.ask(path(chosen(), "documents", name));
  const points = Array.from(text);
  const middle = current ? [current.start, current.end] : [0, 0];
  const from = Math.max(0, middle[0] - AROUND), to = Math.min(points.length, middle[1] + AROUND);
  const piece = (start, end) => shown(points.slice(start, end).join(""));
  const body = make("div", { class: "source-text", dir: "auto" });
  let at = from, mark = null;
  for (const citation of [...citations].sort((a, b) => a.start - b.start)) {
    if (citation.start < at || citation.end > to) continue;
    const found = make("mark", { class: citation === current ? "current" : undefined }, piece(citation.start, citation.end));
    if (citation === current) mark = found;
    body.append(piece(at, citation.start), found);
    at = citation.end;
  }
  body.append(piece(at, to));
  const source = byId("source");
  const close = make("button", { type: "button", class: "link", onclick: () => { source.hidden = true; byId("question").focus(); } }, t("Close"));
  const parts = [make("div", { class: "row" }, make("h2", { dir: "auto" }, shown(name)), close), body];
  if (from > 0 || to < points.length) parts.push(make("p", { class: "note" }, t("Characters {from} to {to} of {all}.", { from, to, all: points.length })));
  source.replaceChildren(...parts);
  source.hidden = false;
  source.focus({ preventScroll: true });
  (mark ?? source).scrollIntoView({ block: "center" });
  announce(mark ? t("The quote is marked in its source.") : t("{name} is open.", { name }));
}
