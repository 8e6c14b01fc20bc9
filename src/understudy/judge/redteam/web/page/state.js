// What all parts of the page know: the names that the server offers, who is at work, which conversation is open.

import * as api from "/page/api.js";

export const state = { about: null, rater: "", conversation: null, isSpeaking: false };
const listeners = new Map();

/** Calls the listener whenever something of this name has changed: "rater", "conversation", "list", "goals". */
export const on = (name, listener) => listeners.set(name, [...(listeners.get(name) ?? []), listener]);
export const changed = (name) => { for (const listener of listeners.get(name) ?? []) listener(); };

const as = () => `rater=${encodeURIComponent(state.rater)}`;
export const listConversations = async () => (await api.ask(`/api/conversations?${as()}`)).data;
export const listGoals = async () => (await api.ask("/api/goals")).data;
export const readConversation = (id) => api.ask(`/api/conversations/${id}?${as()}`);
export const readOverview = () => api.ask(`/api/overview?${as()}`);

/** Opens a conversation, or none; a panel for it is shown where there is room for one only. */
export async function open(id) {
  state.conversation = id ? await readConversation(id) : null;
  changed("conversation");
}

export const reopen = () => open(state.conversation?.id);

/** A name for a conversation. */
export const label = (one) => one.title || one.first || one.turns?.[0]?.original || "Nothing said yet";
