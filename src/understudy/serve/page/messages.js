// One message on the page: its text, its tool calls, and what can be done with it.

import { Growing, make, shown } from "/page/dom.js";

/** A list item for a turn `{role, content, calls}`. `actions` are [label, listener] pairs. */
export class Bubble {
  constructor(turn, name, actions) {
    this.turn = turn;
    this.text = make("div", { class: "text", dir: "auto" });
    this.extra = make("div", { class: "extra" });
    this.actions = make("div", { class: "actions" });
    this.item = make("li", { class: `message ${turn.role}` },
      make("p", { class: "who" }, shown(name)), make("div", { class: "body" }, this.text), this.extra, this.actions);
    this.growing = new Growing(this.text);
    this.calls = [];
    if (turn.content) this.add(turn.content, true);
    this.offer(actions);
  }

  offer(actions) {
    this.actions.replaceChildren(...actions.map(([label, listener]) => make("button", { type: "button", class: "link", onclick: listener }, label)));
  }

  add(text, isWhole = false) {
    this.growing.add(text);
    if (isWhole) this.growing.flush();
  }

  /** A piece of a streamed call; the first of each has its name. */
  addCall({ index, id, function: piece }) {
    if (!this.calls[index]) {
      const code = make("code", { class: "arguments" });
      const box = make("div", { class: "call" }, make("p", { class: "call-name" }, "calls ", make("b", {}, shown(piece.name ?? ""))), make("pre", {}, code));
      this.extra.append(box);
      this.calls[index] = { id, name: piece.name, arguments: "", box, growing: new Growing(code) };
    }
    if (piece.arguments) {
      this.calls[index].arguments += piece.arguments;
      this.calls[index].growing.add(piece.arguments);
    }
  }

  /** Asks what the calls returned; `onResults` gets one text for each. */
  askResults(onResults) {
    const areas = this.calls.map((call, i) => {
      const area = make("textarea", { rows: "1", id: `result-${call.id}`, required: true, placeholder: "what it returned" });
      call.box.append(make("label", { for: area.id, class: "small" }, shown(`${call.name} returned`)), area);
      return area;
    });
    const send = make("button", { type: "button", class: "main-button", onclick: () => {
      const empty = areas.find((area) => !area.value.trim());
      if (empty) return empty.focus();
      for (const area of areas) area.readOnly = true;
      send.remove();
      onResults(areas.map((area) => area.value));
    } }, "Give the result");
    this.extra.append(send);
    areas[0]?.focus();
  }

  note(text, kind = "note") {
    this.extra.append(make("p", { class: kind, role: kind === "fault" ? "alert" : undefined }, shown(text)));
  }

  /** Puts an editor in the place of the text. */
  edit(onSave) {
    const area = make("textarea", { rows: "3", "aria-label": "Edit your message" });
    area.value = this.turn.content;
    const close = () => { form.remove(); this.text.hidden = this.actions.hidden = false; };
    const form = make("form", { class: "editor", onsubmit: (event) => {
      event.preventDefault();
      if (area.value.trim()) onSave(area.value.trim());
    }, onkeydown: (event) => { if (event.key === "Escape") { event.stopPropagation(); close(); this.actions.querySelector("button")?.focus(); } } },
    area, make("div", { class: "row end" }, make("button", { type: "button", class: "link", onclick: close }, "Cancel"), make("button", { type: "submit", class: "main-button" }, "Say this instead")));
    this.text.hidden = this.actions.hidden = true;
    this.text.after(form);
    area.focus();
  }
}
