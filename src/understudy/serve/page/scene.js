// A scene with a character: its session on the server, opened anew where the conversation was edited, branched or reloaded.

import * as api from "/page/api.js";
import { path } from "/page/conversation.js";
import { readRepetition } from "/page/panel.js";
import { cards } from "/page/store.js";

/** Opens a session for a scene; `history` is what was said in it already. */
export async function openSession(scene, model, history) {
  const { character, user, persona, greeting, books, seed } = scene;
  const samplers = readRepetition();
  const body = { character, model, user, seed: seed ?? Math.floor(Math.random() * 2 ** 31), ...samplers };
  scene.samplers = JSON.stringify(samplers);
  if (persona) body.persona = persona;
  if (greeting) body.greeting = greeting;
  if (books?.length) body.lorebooks = books;
  if (history) body.history = history;
  try {
    return await api.ask("/v1/sessions", { body });
  } catch (error) {
    const card = await cards.get(character).catch(() => null);
    if (!card?.file || !/no character/.test(error.message)) throw error;
    await api.ask("/v1/characters", { body: card.file, type: card.file.type || "application/octet-stream" }); // the server was started anew
    return api.ask("/v1/sessions", { body });
  }
}

/** The session in which the next thing is said behind `leaf`. */
export async function sessionAt(conversation, leaf, model) {
  const { scene } = conversation;
  const isAsSet = (scene.samplers ?? "{}") === JSON.stringify(readRepetition());
  if (scene.session && scene.at === leaf && isAsSet) {
    const isThere = await api.ask(`/v1/sessions/${scene.session}`).then(() => true, () => false);
    if (isThere) return scene.session;
  }
  close(scene);
  const history = path(conversation, leaf).filter(({ content }) => content).map(({ role, content }) => ({ role, text: content }));
  const session = await openSession(scene, model, history);
  scene.session = session.id;
  scene.at = leaf;
  return scene.session;
}

export function close(scene) {
  if (scene?.session) api.ask(`/v1/sessions/${scene.session}`, { method: "DELETE" }).catch(() => {});
  if (scene) scene.session = null;
}
