// Elements and text. What comes from models, cards and documents goes into the page through `shown`: as text, or as Markdown that is cleaned.

import { t } from "/page/language.js";

export const byId = (id) => document.getElementById(id);

/** Shows one of a page's views, and marks its link. */
export function turnTo(view, views) {
  for (const name of views) {
    byId(`view-${name}`).hidden = name !== view;
    const link = document.querySelector(`.views a[href="#${name}"]`);
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** An element. Properties that begin with `on` are listeners; children are elements or text. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) element.append(child);
  return element;
}

// Control characters, and those that turn the direction of what follows, could make the page show another text than it holds.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text with its invisible commands made visible: an escape character is shown as ␛ and does nothing. */
export function shown(text) {
  return String(text).replace(/\r\n?/g, "\n").replace(HIDDEN, (character) => {
    const code = character.codePointAt(0);
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : code === 0x7f ? "\u2421" : "\u2423";
  });
}

const MAX_SHOWN = 100_000;

/** Text that grows: what comes is added once a frame, and beyond 100,000 characters it is counted instead of shown. */
export class Growing {
  constructor(element) {
    this.element = element;
    this.full = "";
    this.written = 0;
    this.frame = 0;
    this.more = null;
  }

  add(text) {
    this.full += text;
    this.frame ||= requestAnimationFrame(() => this.flush());
  }

  flush() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.write(Math.min(this.full.length, MAX_SHOWN));
    if (this.full.length <= MAX_SHOWN) return;
    this.more ??= this.element.parentElement?.appendChild(make("p", { class: "note" })) ?? null;
    if (this.more) this.more.textContent = t("{count} more characters are not shown.", { count: (this.full.length - MAX_SHOWN).toLocaleString() });
  }

  /** Shows what has come up to `end`. */
  write(end) {
    if (end > this.written) this.element.append(shown(this.full.slice(this.written, end)));
    this.written = Math.max(this.written, end);
  }
}

/** Says something to screen readers. */
export function announce(text) {
  byId("announcer").textContent = shown(text).slice(0, 2000);
}

/** Files that are chosen or dropped on an element go to `take`. */
export function onFiles(area, input, take) {
  input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
  area.addEventListener("dragover", (event) => { event.preventDefault(); area.classList.add("over"); });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
}

/** A text area that is as high as its text, up to its style's max-height; Enter sends its form. */
export function growing(area) {
  const fit = () => { area.style.height = "auto"; area.style.height = `${area.scrollHeight}px`; };
  area.addEventListener("input", fit);
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    area.form.requestSubmit();
  });
  return fit;
}
