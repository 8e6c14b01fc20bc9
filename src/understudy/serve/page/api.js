// Asking the server: the key, errors in one line, answers that come as server-sent events.

import { t } from "/page/language.js";

const KEY = "understudy-key";
let askForKey = () => {};

export const key = () => sessionStorage.getItem(KEY) ?? "";
export const setKey = (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY));
export const onKeyNeeded = (listener) => { askForKey = listener; };

/** The response of a request. Throws an Error whose message is the server's. */
async function request(path, { body, method, type, signal } = {}) {
  const headers = {};
  if (key()) headers.Authorization = `Bearer ${key()}`;
  if (body !== undefined && !(body instanceof FormData)) headers["Content-Type"] = type ?? "application/json";
  const isJson = headers["Content-Type"] === "application/json" && !(body instanceof Blob);
  let response;
  try {
    response = await fetch(path, {
      method: method ?? (body === undefined ? "GET" : "POST"), headers, body: isJson ? JSON.stringify(body) : body, signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(t("The server does not answer. Is it still running?"));
  }
  if (response.ok) return response;
  const document = await response.json().catch(() => ({}));
  const message = document.error?.message ?? Object.values(document.failed ?? {})[0] ?? t("The server answered {status}.", { status: response.status });
  if (response.status === 401) askForKey(message);
  throw new Error(message);
}

export const ask = async (path, options) => (await request(path, options)).json();

/** The events of a streamed answer as [name, data]; the data of the last OpenAI event, `[DONE]`, is left out. */
export async function* stream(path, body, signal) {
  const response = await request(path, { body, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n\n");
      rest = lines.pop();
      for (const block of lines) {
        const found = readEvent(block);
        if (found) yield found;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function readEvent(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  if (!data.length || data[0] === "[DONE]") return null;
  const document = JSON.parse(data.join("\n"));
  if (document.error) throw new Error(document.error.message ?? t("The answer broke off."));
  return [name, document];
}
