// Markdown as elements. Markup of a model is text; what is made of its Markdown is cleaned, and holds nothing that loads or runs.

import { Growing, make, shown } from "/page/dom.js";
import { t } from "/page/language.js";
import { Marked } from "/page/vendor/marked.js";
import DOMPurify from "/page/vendor/purify.js";

const escaped = (text) => text.replace(/[&<>"]/g, (one) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[one]);
const formula = (text, isBlock) => `<span class="formula${isBlock ? " block" : ""}">${escaped(text)}</span>`;

/** `$$…$$` and `\[…\]` on lines of their own; `$…$` and `\(…\)` inside a line, where no digit follows and no blank stands inside. */
const FORMULAS = [
  {
    name: "formulaBlock", level: "block",
    start: (text) => text.match(/(\$\$|\\\[)/)?.index,
    tokenizer(text) {
      const found = /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/.exec(text);
      return found ? { type: "formulaBlock", raw: found[0], text: (found[1] ?? found[2]).trim() } : undefined;
    },
    renderer: (token) => `<p>${formula(token.text, true)}</p>`,
  },
  {
    name: "formula", level: "inline",
    start: (text) => text.match(/(\$|\\\()/)?.index,
    tokenizer(text) {
      const found = /^(?:\$(?![\s$])((?:\\.|[^$\\\n])+?)(?<!\s)\$(?!\d)|\\\((.+?)\\\))/.exec(text);
      return found ? { type: "formula", raw: found[0], text: (found[1] ?? found[2]).trim() } : undefined;
    },
    renderer: (token) => formula(token.text, false),
  },
];

const marked = new Marked({
  gfm: true, breaks: true, extensions: FORMULAS,
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`, // a picture from elsewhere would be fetched from elsewhere
    heading({ tokens, depth }) { return `<h${Math.min(6, depth + 2)}>${this.parser.parseInline(tokens)}</h${Math.min(6, depth + 2)}>`; },
  },
});

const ALLOWED = {
  ALLOWED_TAGS: "p br strong em del h3 h4 h5 h6 ul ol li blockquote pre code span table thead tbody tr th td a hr input".split(" "),
  ALLOWED_ATTR: ["href", "class", "align", "start", "checked", "disabled", "type"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  RETURN_DOM_FRAGMENT: true,
};

/** The blocks of a text as a fragment. */
function blocks(source) {
  const fragment = DOMPurify.sanitize(source, ALLOWED);
  for (const link of fragment.querySelectorAll("a[href]")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const box of fragment.querySelectorAll("input")) {
    if (box.type !== "checkbox") box.remove();
    else box.setAttribute("aria-label", box.checked ? t("done") : t("open"));
  }
  for (const table of fragment.querySelectorAll("table")) {
    const frame = make("div", { class: "table", tabindex: "0", role: "group", "aria-label": t("Table") });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const code of fragment.querySelectorAll("pre > code")) dressCode(code);
  for (const one of fragment.querySelectorAll(".formula")) typeset(one);
  return fragment;
}

/** A block of code gets its language, a button that copies it, and colours. */
function dressCode(code) {
  const language = /language-([\w+#.-]+)/.exec(code.className)?.[1] ?? "";
  const text = code.textContent;
  const copy = make("button", { type: "button", class: "link", onclick: () => navigator.clipboard?.writeText(text).then(() => {
    copy.textContent = t("Copied");
    setTimeout(() => { copy.textContent = t("Copy"); }, 1500);
  }) }, t("Copy"));
  const head = make("div", { class: "code-head" }, make("span", {}, language), copy);
  const pre = code.parentElement, frame = make("div", { class: "code-block" });
  pre.setAttribute("tabindex", "0");
  pre.setAttribute("role", "group");
  pre.setAttribute("aria-label", language ? t("Code in {language}", { language }) : t("Code"));
  pre.replaceWith(frame);
  frame.append(head, pre);
  if (language && text.length < 50_000) colour(code, language, text);
}

let highlighter = null;
function colour(code, language, text) {
  highlighter ??= import("/page/vendor/highlight.js").then((module) => module.default);
  highlighter.then((hljs) => {
    if (!hljs.getLanguage(language)) return;
    const spans = DOMPurify.sanitize(hljs.highlight(text, { language, ignoreIllegals: true }).value, { ...ALLOWED, ALLOWED_TAGS: ["span"] });
    code.replaceChildren(spans);
  }).catch(() => {});
}

let typesetter = null;
function typeset(element) {
  const text = element.textContent, isBlock = element.classList.contains("block");
  typesetter ??= new Promise((resolve, reject) => {
    document.head.append(make("script", { src: "/page/vendor/temml.js", onload: () => resolve(window.temml), onerror: reject }));
  });
  typesetter.then((temml) => {
    const place = document.createElement("span");
    temml.render(text, place, { displayMode: isBlock, throwOnError: true, trust: false, maxExpand: 200, maxSize: [20, 20] });
    element.replaceChildren(...place.childNodes);
  }).catch(() => {}); // what is no formula stays as it was written
}

/** Markdown that grows. Blocks that are finished stay; the last is made anew, once a frame. */
export class Markdown extends Growing {
  tail = []; // of the blocks that are not final; those of `written` characters are

  /** Without carriage returns: the parser drops them, and places are counted in what it read. */
  add(text) {
    super.add(text.replaceAll("\r", ""));
  }

  write(end) {
    for (const node of this.tail) node.remove();
    this.tail = [];
    const tokens = marked.lexer(shown(this.full.slice(this.written, end)));
    const last = Math.max(0, tokens.findLastIndex((token) => token.type !== "space"));
    const finished = Object.keys(tokens.links).length === 0 ? tokens.slice(0, last) : [];
    this.element.append(blocks(marked.parser(finished)));
    this.written += finished.reduce((sum, token) => sum + token.raw.length, 0);
    const fragment = blocks(marked.parser(tokens.slice(finished.length)));
    this.tail = [...fragment.childNodes];
    this.element.append(fragment);
  }
}
