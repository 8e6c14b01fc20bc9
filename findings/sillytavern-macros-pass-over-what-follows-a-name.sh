#!/usr/bin/env bash
# SillyTavern 1.19.0, its new macro engine in Node: what follows a macro's name up to a blank, a colon
# or the end is passed over ({{user's}} is the user's name, while {{user's dog}} stays, for "dog" is then an argument too
# many), and a block that no macro opens loses its closing tag ({{note}}x{{/note}} becomes {{note}}x}}).
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
const known = { chevrotain: need('chevrotain'), moment: need('moment'), getStringHash: () => 0, chat_metadata: {}, power_user: {} };
globalThis.dummies = (name) => name in known ? known[name] : anything;
globalThis.SillyTavern = { getContext: () => anything };
const engine = (name) => `macros/engine/${name}`;
const parts = ['MacroCstWalker', 'MacroDiagnostics', 'MacroEngine', 'MacroFlags', 'MacroLexer', 'MacroParser', 'MacroRegistry'].map(engine);
const real = scripts(...parts, 'utils', ...['core', 'env'].map((name) => `macros/definitions/${name}-macros`));
register('./loader.mjs', import.meta.url, { data: { root, real } });
const { MacroEngine } = await import(root + 'scripts/macros/engine/MacroEngine.js');
(await import(root + 'scripts/macros/definitions/core-macros.js')).registerCoreMacros();
(await import(root + 'scripts/macros/definitions/env-macros.js')).registerEnvMacros();
const env = { content: '', names: { user: 'Ada' }, character: {}, system: {}, functions: { postProcess: (x) => x }, dynamicMacros: {}, extra: {} };
const texts = ["{{user's}}", "{{user's dog}}", '{{user.name}}', '{{note}}x{{/note}}', '{{user}}x{{/user}}'];
const found = texts.map((text) => MacroEngine.evaluate(text, env));
say(JSON.parse(readFileSync(home + '/package.json')).version, Object.fromEntries(texts.map((text, i) => [text, found[i]])));
assert.deepStrictEqual(found, ['Ada', "{{user's dog}}", 'Ada', '{{note}}x}}', '{{user}}x{{/user}}']);
JS
node run.mjs
