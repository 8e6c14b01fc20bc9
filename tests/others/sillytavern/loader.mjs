// Resolves the imports of SillyTavern's browser modules in Node: a short list of its files is loaded as it is, everything
// else becomes a stub whose exports are `globalThis.stubs[name]`, or a dummy that takes any call.
import { readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

let root = '';
let real = [];

export function initialize(data) {
    root = pathToFileURL(data.root + '/').href;
    real = data.real;
}

const bodies = new Map();

function namesImported(importer, specifier) {
    if (!bodies.has(importer)) bodies.set(importer, readFileSync(fileURLToPath(importer), 'utf8'));
    const names = new Set();
    for (const [, clause, from] of bodies.get(importer).matchAll(/^import\s+([^;]*?)\s+from\s+['"]([^'"]+)['"]/gms)) {
        if (from !== specifier) continue;
        const braces = /\{([^}]*)\}/s.exec(clause);
        for (const part of (braces?.[1] ?? '').split(',')) {
            const name = part.trim().split(/\s+as\s+/)[0];
            if (name) names.add(name);
        }
        if (!clause.startsWith('{')) names.add('default');
    }
    return [...names];
}

export async function resolve(specifier, context, next) {
    const importer = context.parentURL ?? '';
    if (!importer.startsWith(root + 'public/') || specifier.startsWith('stub:')) return next(specifier, context);
    const url = new URL(specifier.startsWith('/') ? root + 'public' + specifier : new URL(specifier, importer).href);
    const path = url.href.slice(root.length);
    if (real.includes(path)) return { url: url.href, shortCircuit: true };
    const names = namesImported(importer, specifier).join(',');
    return { url: `stub:${path}?${names}`, shortCircuit: true };
}

export async function load(url, context, next) {
    if (url.startsWith('stub:')) {
        const names = url.slice(url.lastIndexOf('?') + 1).split(',').filter(Boolean);
        const lines = names.map((name) => name === 'default'
            ? 'export default globalThis.stub("default");'
            : `export const ${name} = globalThis.stub(${JSON.stringify(name)});`);
        return { format: 'module', source: lines.join('\n') || 'export {};', shortCircuit: true };
    }
    if (url.startsWith(root + 'public/')) {
        return { format: 'module', source: readFileSync(fileURLToPath(url)), shortCircuit: true };
    }
    return next(url, context);
}
