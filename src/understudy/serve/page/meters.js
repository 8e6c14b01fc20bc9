// The context ledger as a bar, and how fast it goes.

import { byId, make } from "/page/dom.js";
import { t } from "/page/language.js";
import { measured } from "/page/models.js";

const SIZES = new Set(["free", "total", "context", "dropped"]);
const NAMES = {
  template: "form of the turns", system: "instructions", persona: "character", history: "what was said", user: "your message",
  tools: "tools", documents: "documents", assistant: "answers", reserve: "kept for the answer",
};

/** Shows where a prompt's tokens went: `usage.context` of an answer. */
export function showLedger(ledger) {
  const bar = byId("bar"), legend = byId("legend");
  bar.replaceChildren();
  legend.replaceChildren();
  if (!ledger) {
    byId("bar-text").textContent = t("context");
    bar.setAttribute("aria-label", t("Context: nothing used yet"));
    return;
  }
  const parts = Object.entries(ledger).filter(([name, count]) => !SIZES.has(name) && count > 0);
  const said = [];
  for (const [name, count] of parts) {
    const segment = make("span", { class: "segment", "data-part": name });
    segment.style.flexGrow = count;
    bar.append(segment);
    legend.append(row(name, count));
    said.push(`${t(NAMES[name] ?? name)} ${count}`);
  }
  const room = make("span", { class: "segment room" });
  room.style.flexGrow = Math.max(0, ledger.free);
  bar.append(room);
  legend.append(row("free", ledger.free));
  for (const line of ledger.dropped ?? []) legend.append(make("li", { class: "dropped" }, t("left out: {line}", { line })));
  byId("bar-text").textContent = t("{used} of {all} tokens", { used: ledger.total.toLocaleString(), all: ledger.context.toLocaleString() });
  bar.setAttribute("aria-label", t("Context: {used} of {all} tokens: {parts}, free {free}", { used: ledger.total, all: ledger.context, parts: said.join(", "), free: ledger.free }));
}

const row = (name, count) =>
  make("li", {}, make("i", { "data-part": name, "aria-hidden": "true" }), `${t(NAMES[name] ?? name)} `, make("b", {}, count.toLocaleString()));

/** Measures one answer as it comes; the server's own figure replaces the count at the end. */
export class Speed {
  constructor() {
    this.begun = performance.now();
    this.first = 0;
    this.pieces = 0;
    byId("rate").textContent = "…";
    byId("first").textContent = t("reading");
  }

  piece() {
    const now = performance.now();
    this.pieces += 1;
    if (!this.first) {
      this.first = now;
      byId("first").textContent = t("first token {time}", { time: time(now - this.begun) });
      return;
    }
    if (now - this.first > 200) this.show(((this.pieces - 1) * 1000) / (now - this.first));
  }

  show(rate) {
    byId("rate").textContent = t("{rate} tokens/s", { rate: rate.toFixed(1) });
  }

  finish(rate) {
    if (rate > 0) {
      this.show(rate);
      measured(rate);
    } else if (byId("rate").textContent === "…") byId("rate").textContent = t("{rate} tokens/s", { rate: "–" });
    if (!this.first) byId("first").textContent = t("first token {time}", { time: "–" });
  }
}

const time = (milliseconds) => (milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`);
