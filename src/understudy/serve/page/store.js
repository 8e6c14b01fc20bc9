// Where conversations are kept: in this browser, or on the server beside its collections. Both answer in the same way.

import * as api from "/page/api.js";

const CHOICE = "understudy-store";
export const summaryOf = ({ id, title, updated, scene }) => ({ id, title, updated, name: scene?.name ?? "" });
const texts = (conversation) => [conversation.title, ...Object.values(conversation.nodes).map((node) => node.content)];

/** IndexedDB; where a browser gives none (a private window), memory until the tab closes. */
class Browser {
  constructor() {
    this.memory = null;
    this.database = new Promise((resolve) => {
      const opening = indexedDB.open("understudy", 1);
      opening.onupgradeneeded = () => { for (const name of ["conversations", "cards"]) opening.result.createObjectStore(name, { keyPath: "id" }); };
      opening.onsuccess = () => resolve(opening.result);
      opening.onerror = () => resolve(null);
    }).catch(() => null);
  }

  async run(store, mode, work) {
    const database = await this.database;
    if (!database) return this.remembered(store, work);
    return new Promise((resolve, reject) => {
      const asked = work(database.transaction(store, mode).objectStore(store));
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => reject(asked.error);
    });
  }

  remembered(store, work) {
    this.memory ??= { conversations: new Map(), cards: new Map() };
    const kept = this.memory[store];
    return work({ get: (id) => kept.get(id), getAll: () => [...kept.values()], put: (value) => void kept.set(value.id, value), delete: (id) => void kept.delete(id) });
  }

  async list(query = "") {
    const all = await this.run("conversations", "readonly", (store) => store.getAll());
    const wanted = query.toLowerCase();
    return all.filter((one) => !wanted || texts(one).some((text) => text?.toLowerCase().includes(wanted))).map(summaryOf).sort((a, b) => b.updated - a.updated);
  }

  get = (id) => this.run("conversations", "readonly", (store) => store.get(id));
  put = (conversation) => this.run("conversations", "readwrite", (store) => store.put(structuredClone(conversation)));
  remove = (id) => this.run("conversations", "readwrite", (store) => store.delete(id));
  getCard = (id) => this.run("cards", "readonly", (store) => store.get(id));
  putCard = (card) => this.run("cards", "readwrite", (store) => store.put(card));
}

const at = (id) => `/v1/conversations/${encodeURIComponent(id)}`;

class Server {
  list = async (query = "") => (await api.ask(`/v1/conversations?search=${encodeURIComponent(query)}`)).data.map(summaryOf);
  get = (id) => api.ask(at(id));
  put = (conversation) => api.ask(at(conversation.id), { method: "PUT", body: conversation });
  remove = (id) => api.ask(at(id), { method: "DELETE" });
}

const browser = new Browser(), server = new Server();

/** Pictures and files of cards, which stay in the browser. */
export const cards = { get: browser.getCard, put: browser.putCard };
export const isOnServer = () => localStorage.getItem(CHOICE) === "server";
export const keepOnServer = (isWanted) => localStorage.setItem(CHOICE, isWanted ? "server" : "browser");
export const store = () => (isOnServer() ? server : browser);
