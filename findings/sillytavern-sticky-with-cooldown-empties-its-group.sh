#!/usr/bin/env bash
# SillyTavern 1.19.0, its own world-info code in Node: in an inclusion group an entry that stays
# (sticky) while its cooldown runs takes its rivals out and is then taken out itself, so nothing of the group is
# left; without a group the same entry stays. Both effects begin together, so this is every sticky entry that has a
# cooldown too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --no-audit --no-fund --silent --ignore-scripts sillytavern@1.19.0
cat > loader.mjs <<'JS'
// Loads a few of its browser modules as they are; everything else that they import becomes a dummy.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
let root, real;
export const initialize = (data) => ({ root, real } = data);
export async function resolve(specifier, context, next) {
    const from = context.parentURL ?? '';
    if (!from.startsWith(root)) return next(specifier, context);
    const url = new URL(specifier.startsWith('/') ? root + specifier.slice(1) : new URL(specifier, from).href).href;
    if (real.some((path) => url === root + path)) return { url, shortCircuit: true };
    const names = new Set();
    for (const [, clause, module] of readFileSync(fileURLToPath(from), 'utf8').matchAll(/^import\s+([^;]*?)\s+from\s+'([^']+)'/gms)) {
        if (module === specifier) for (const name of (/\{([^}]*)\}/s.exec(clause)?.[1] ?? '').split(',')) names.add(name.trim());
    }
    names.delete('');
    return { url: `dummy:${url}?${[...names].join(',')}`, shortCircuit: true };
}
export async function load(url, context, next) {
    if (!url.startsWith('dummy:')) return next(url, context);
    const names = url.slice(url.lastIndexOf('?') + 1).split(',').filter(Boolean);
    return { format: 'module', shortCircuit: true, source: names.map((name) => `export const ${name} = dummies('${name}');`).join('\n') || 'export {};' };
}
JS
cat > run.mjs <<'JS'
import assert from 'node:assert';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire, register } from 'node:module';
import { pathToFileURL } from 'node:url';
const home = process.cwd() + '/node_modules/sillytavern';
writeFileSync(home + '/public/package.json', '{"type": "module"}');
const root = pathToFileURL(home + '/public/').href;
const need = createRequire(home + '/package.json');
const say = console.log;
for (const name of ['log', 'debug', 'info', 'warn', 'error', 'group', 'groupEnd', 'groupCollapsed', 'table']) console[name] = () => {};
const anything = new Proxy(function () {}, {
    get: (target, key) => key === Symbol.toPrimitive ? () => '' : key === Symbol.iterator || key === 'then' ? undefined : anything,
    apply: () => anything, construct: () => anything,
});
globalThis.$ = globalThis.document = globalThis.toastr = anything;
globalThis.window = globalThis;
const scripts = (...names) => names.map((name) => `scripts/${name}.js`);
const metadata = {};
const entry = (uid, more) => ({ uid, key: ['wolf'], keysecondary: [], content: `entry ${uid}`, order: 100, position: 0, ...more });
const context = { extensionPrompts: {}, tagMap: {}, characters: [{ avatar: 'a.png' }], characterId: 0, setExtensionPrompt() {} };
const known = {
    FilterHelper: class {}, chat_metadata: metadata, characters: [{ name: 'A', avatar: 'a.png', data: {} }], this_chid: 0,
    eventSource: { emit: async () => {} }, event_types: {}, getContext: () => context, shouldWIAddPrompt: false, NOTE_MODULE_NAME: 'note',
    getTokenCountAsync: async (text) => text.length, substituteParams: (text) => text, getRegexedString: (text) => text,
    extension_prompt_roles: { SYSTEM: 0 }, power_user: {}, regex_placement: {}, debounce_timeout: {}, GENERATION_TYPE_TRIGGERS: [],
};
globalThis.dummies = (name) => name in known ? known[name] : anything;
register('./loader.mjs', import.meta.url, { data: { root, real: scripts('world-info', 'utils', 'util/StructuredCloneMap') } });
const world = await import(root + 'scripts/world-info.js');
async function twoTurns(group) {
    for (const key of Object.keys(metadata)) delete metadata[key];
    const entries = { 0: entry(0, { sticky: 3, cooldown: 5, group, groupOverride: true }), 1: entry(1, { group }) };
    world.updateWorldInfoSettings({}, ['book']);
    world.worldInfoCache.set('book', { entries });
    const found = [];
    for (const chat of [['a wolf'], ['a wolf', 'hm', 'a wolf']]) found.push((await world.checkWorldInfo(chat, 100000, false)).worldInfoBefore);
    return found;
}
const [alone, grouped] = [await twoTurns(''), await twoTurns('beasts')];
say(JSON.parse(readFileSync(home + '/package.json')).version, { alone, grouped });
assert.deepStrictEqual(alone, ['entry 1\nentry 0', 'entry 1\nentry 0']);
assert.deepStrictEqual(grouped, ['entry 0', '']);
JS
node run.mjs
