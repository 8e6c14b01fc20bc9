// Reads card files with SillyTavern's server code and with @risuai/ccardlib: node readers.mjs FOLDER FILE…
// One JSON line a file: what each of them makes of it.
import { createRequire } from 'node:module';
import { readFileSync, realpathSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [folder, ...files] = process.argv.slice(2);
const root = realpathSync(`${folder}/node_modules`) + '/sillytavern';
const need = createRequire(root + '/package.json');
const { CCardLib } = need('@risuai/ccardlib');
console.info = console.error = console.log = () => {};
const load = (path) => import(pathToFileURL(`${root}/src/${path}`).href);
const { read } = await load('character-card-parser.js');
const { CharXParser } = await load('charx.js');

async function sillytavern(data, kind) {
    if (kind === 'png') return { card: JSON.parse(read(data)) };
    if (kind === 'json') return { card: JSON.parse(data.toString()) };
    const { card, avatar } = await new CharXParser(data).parse();
    return { card, avatar: Buffer.isBuffer(avatar) ? avatar.toString('base64') : null };
}

for (const file of files) {
    const data = readFileSync(file);
    const theirs = await sillytavern(data, file.split('.').pop());
    const version = CCardLib.character.check(theirs.card);
    const risu = version === 'unknown' ? null : CCardLib.character.convert(theirs.card, { to: 'v3', from: version });
    process.stdout.write(JSON.stringify({ ...theirs, version, risu }) + '\n');
}
