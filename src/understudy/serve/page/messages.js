// One message on the page: its text, its thoughts, its tool calls, its variants, and what can be done with it.

import { Growing, make, shown } from "/page/dom.js";
import { argumentForm } from "/page/forms.js";
import { t } from "/page/language.js";
import { Markdown } from "/page/markdown.js";

/** A list item for a message. What a model wrote is Markdown, what a person or a tool wrote is text. */
export class Bubble {
  constructor(message, name) {
    this.message = message;
    this.text = make("div", { class: message.role === "assistant" ? "text markdown" : "text", dir: "auto" });
    this.thoughts = null;
    this.extra = make("div", { class: "extra" });
    this.actions = make("div", { class: "actions" });
    this.body = make("div", { class: "body" }, this.text);
    this.item = make("li", { class: `message ${message.role}` }, make("p", { class: "who" }, shown(name)), this.body, this.extra, this.actions);
    this.growing = message.role === "assistant" ? new Markdown(this.text) : new Growing(this.text);
    this.calls = [];
    if (message.reasoning) this.think(message.reasoning);
    if (message.content) this.add(message.content);
    message.calls?.forEach((call, index) => this.addCall({ index, id: call.id, function: call }));
    for (const [text, kind] of message.notes ?? []) this.note(text, kind);
    this.finish();
  }

  add(text) {
    this.growing.add(text);
  }

  think(text) {
    if (!this.thoughts) {
      const place = make("div", { class: "text small" });
      this.thoughts = new Growing(place);
      this.body.prepend(make("details", { class: "thoughts" }, make("summary", {}, t("Thoughts")), place));
    }
    this.thoughts.add(text);
  }

  finish() {
    this.growing.flush();
    this.thoughts?.flush();
    for (const call of this.calls) call?.growing.flush();
  }

  /** Buttons as [label, listener] pairs; with several variants also the way between them. */
  offer(actions, { all = [], at = 0, turn = () => {} } = {}) {
    const buttons = actions.map(([label, listener]) => make("button", { type: "button", class: "link", onclick: listener }, label));
    if (all.length > 1) {
      const step = (by, sign, label) => make("button", { type: "button", class: "link step", "aria-label": label, disabled: !all[at + by], onclick: () => turn(all[at + by]) }, sign);
      buttons.unshift(make("span", { class: "variants", role: "group", "aria-label": t("Variants") },
        step(-1, "‹", t("The variant before")), make("span", { class: "figure" }, `${at + 1}/${all.length}`), step(1, "›", t("The next variant"))));
    }
    this.actions.replaceChildren(...buttons);
  }

  /** A piece of a streamed call; the first of each has its name. */
  addCall({ index, id, function: piece }) {
    if (!this.calls[index]) {
      const code = make("code", { class: "arguments" });
      const pre = make("pre", { tabindex: "0", role: "group", "aria-label": t("Arguments") }, code);
      const box = make("div", { class: "call" }, make("p", { class: "call-name" }, t("calls"), " ", make("b", {}, shown(piece.name ?? ""))), pre);
      this.extra.append(box);
      this.calls[index] = { id, name: piece.name, arguments: "", box, code, growing: new Growing(code) };
    }
    if (piece.arguments) {
      this.calls[index].arguments += piece.arguments;
      this.calls[index].growing.add(piece.arguments);
    }
  }

  /** Asks for approval and for what the calls returned; `onResults` gets one text for each. `schemaOf` knows the tools. */
  askResults(schemaOf, onResults) {
    const areas = this.calls.map((call) => this.askOne(call, schemaOf(call.name)));
    const done = (texts) => {
      for (const area of areas) area.readOnly = true;
      for (const button of this.extra.querySelectorAll("button, .change")) button.remove();
      onResults(texts);
    };
    const send = make("button", { type: "button", class: "main-button", onclick: () => {
      const empty = areas.find((area) => !area.value.trim());
      if (empty) return empty.focus();
      done(areas.map((area) => area.value));
    } }, t("Give the result"));
    const decline = make("button", { type: "button", onclick: () => done(areas.map(() => "The user declined this call.")) }, t("Decline"));
    this.extra.append(make("div", { class: "row" }, send, decline));
    areas[0]?.focus();
  }

  askOne(call, schema) {
    const area = make("textarea", { rows: "1", id: `result-${call.id}`, required: true, placeholder: t("what it returned") });
    const change = (values) => {
      call.arguments = JSON.stringify(values);
      call.code.textContent = shown(call.arguments);
    };
    const form = schema && argumentForm(schema, call.arguments, change);
    if (form) call.box.append(make("details", { class: "change" }, make("summary", { class: "small" }, t("Change the arguments")), form));
    call.box.append(make("label", { for: area.id, class: "small" }, shown(t("{name} returned", { name: call.name }))), area);
    return area;
  }

  /** The calls as a conversation keeps them. */
  get asked() {
    return this.calls.map(({ id, name, arguments: text }) => ({ id, name, arguments: text }));
  }

  note(text, kind = "note") {
    this.extra.append(make("p", { class: kind, role: kind === "fault" ? "alert" : undefined }, shown(text)));
  }

  /** Puts an editor in the place of the text. */
  edit(onSave) {
    const isUser = this.message.role === "user";
    const area = make("textarea", { rows: "3", "aria-label": isUser ? t("Edit your message") : t("Edit this message") });
    area.value = this.message.content;
    const close = () => { form.remove(); this.text.hidden = this.actions.hidden = false; };
    const form = make("form", { class: "editor", onsubmit: (event) => {
      event.preventDefault();
      if (area.value.trim()) { close(); onSave(area.value.trim()); }
    }, onkeydown: (event) => { if (event.key === "Escape") { event.stopPropagation(); close(); this.actions.querySelector("button")?.focus(); } } },
    area, make("div", { class: "row end" }, make("button", { type: "button", class: "link", onclick: close }, t("Cancel")), make("button", { type: "submit", class: "main-button" }, isUser ? t("Say this instead") : t("Keep this"))));
    this.text.hidden = this.actions.hidden = true;
    this.text.after(form);
    area.focus();
  }
}
