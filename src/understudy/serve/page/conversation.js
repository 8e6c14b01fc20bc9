// A conversation as a tree: an edited message and another answer stand beside the first, and nothing that was said is lost.
//
//   {id, title, created, updated, settings, scene, nodes: {id: {id, parent, role, content, …}}, leaf, chosen: {parent: child}}
//
// What is shown is the path from the beginning to `leaf`. Nothing here knows of the page or the server.

export const newId = () => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export function newConversation(about = {}) {
  const now = Date.now();
  return { format: "understudy-conversation", version: 1, id: newId(), title: "", created: now, updated: now, settings: {}, scene: null, nodes: {}, leaf: null, chosen: {}, ...about };
}

/** The messages from the first to `leaf`. */
export function path(conversation, leaf = conversation.leaf) {
  const found = [];
  for (let node = conversation.nodes[leaf]; node; node = conversation.nodes[node.parent]) found.unshift(node);
  return found;
}

/** Adds a message behind `parent` (null: as a first one) and turns to it. */
export function add(conversation, message, parent = conversation.leaf) {
  const node = { id: newId(), parent, at: Date.now(), ...message };
  conversation.nodes[node.id] = node;
  conversation.leaf = node.id;
  conversation.chosen[parent ?? ""] = node.id;
  touch(conversation);
  return node;
}

export function touch(conversation) {
  conversation.updated = Date.now();
  if (!conversation.title) {
    const first = Object.values(conversation.nodes).find((node) => node.role === "user");
    if (first) conversation.title = first.content.replace(/\s+/g, " ").trim().slice(0, 60);
  }
}

/** The messages that stand in one place, in the order in which they came. */
export const variants = (conversation, node) => Object.values(conversation.nodes).filter((other) => other.parent === node.parent);

/** Turns to a message, and from it to the end of what was last chosen behind it. */
export function choose(conversation, node) {
  conversation.chosen[node.parent ?? ""] = node.id;
  let leaf = node;
  for (;;) {
    const behind = Object.values(conversation.nodes).filter((other) => other.parent === leaf.id);
    if (!behind.length) break;
    leaf = behind.find((other) => other.id === conversation.chosen[leaf.id]) ?? behind.at(-1);
  }
  conversation.leaf = leaf.id;
}

/** Takes a message and all behind it away. */
export function remove(conversation, node) {
  const gone = [node.id];
  for (const id of gone) gone.push(...Object.values(conversation.nodes).filter((other) => other.parent === id).map((other) => other.id));
  for (const id of gone) delete conversation.nodes[id];
  const beside = variants(conversation, node);
  if (!conversation.nodes[conversation.leaf]) {
    if (beside.length) choose(conversation, beside.at(-1));
    else conversation.leaf = node.parent;
  }
  touch(conversation);
}

/** A conversation of its own that holds the path up to a message. */
export function branch(conversation, node) {
  const { settings, scene, title } = conversation;
  const made = newConversation({ settings: { ...settings }, scene: scene && { ...scene, session: null }, title });
  for (const { id, parent, ...message } of path(conversation, node.id)) add(made, message);
  return made;
}
