// The words of the page. English stands in the sources; /page/lang/<code>.json holds the others, by the English words.

export const LANGUAGES = { en: "English", de: "Deutsch", fr: "Français", es: "Español", ja: "日本語", zh: "中文" };
const CHOICE = "understudy-language";
let words = {};

/** What the reader chose, or the first language of the browser that there is. */
export function language() {
  const chosen = localStorage.getItem(CHOICE);
  if (chosen in LANGUAGES) return chosen;
  return navigator.languages.map((name) => name.slice(0, 2)).find((name) => name in LANGUAGES) ?? "en";
}

export function chooseLanguage(name) {
  localStorage.setItem(CHOICE, name);
  location.reload();
}

/** A text in the reader's language; `{name}` in it is a value. */
export const t = (text, values = {}) => (words[text] || text).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

/** Reads the words and puts them into the page as it was written. */
export async function setUpLanguage() {
  const name = language();
  document.documentElement.lang = name;
  if (name === "en") return;
  try {
    words = await (await fetch(`/page/lang/${name}.json`)).json();
  } catch {
    return; // English then
  }
  translate(document.body);
}

const ATTRIBUTES = ["aria-label", "placeholder", "title", "alt"];

function translate(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const found = words[node.data.trim().replace(/\s+/g, " ")];
    if (found) node.data = node.data.replace(node.data.trim(), found);
  }
  for (const name of ATTRIBUTES) {
    for (const element of root.querySelectorAll(`[${name}]`)) element.setAttribute(name, t(element.getAttribute(name)));
  }
}
