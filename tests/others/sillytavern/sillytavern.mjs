// Runs SillyTavern's own world-info and macro code outside a browser, one JSON request a line on stdin, one answer a line.
//   node sillytavern.mjs FOLDER_OF_THE_PACKAGE
//   {"do": "scan", "book" | "world": …, "chat": [newest first], "settings": {…}, "context": 1000, "draws": [0.5, …], …}
//   {"do": "export", "name": …, "entries": {…}}          a World Info file as SillyTavern writes it into a card
//   {"do": "import", "kind": "NovelLorebook", "book": {…}} another program's file as a World Info file
//   {"do": "matches", "pairs": [[key, text], …]}          null where a key is no pattern
//   {"do": "expand", "texts": [...], "names": {…}, "character": {…}, "draws": [...]}
// Chance is `draws`, one after the other; a token is a run of characters that are not blank.
import { createRequire, register } from 'node:module';
import { readFileSync, realpathSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const root = realpathSync(process.argv[2]);
const need = createRequire(root + '/package.json');
const write = (value) => process.stdout.write(JSON.stringify(value) + '\n');
for (const name of ['log', 'debug', 'info', 'warn', 'error', 'group', 'groupEnd', 'table', 'groupCollapsed']) console[name] = () => {};

/** A function of one of its files that cannot be loaded whole. */
function cut(path, name, outside = {}) {
    const source = readFileSync(`${root}/${path}`, 'utf8');
    const body = new RegExp(`^(?:export )?(function ${name}\\([\\s\\S]*?^\\})`, 'm').exec(source)[1];
    return new Function(...Object.keys(outside), `return ${body}`)(...Object.values(outside));
}
const parseMesExamples = cut('public/script.js', 'parseMesExamples', { power_user: { context: {} }, main_api: 'textgenerationwebui' });
const convertWorldInfoToCharacterBook = cut('src/endpoints/characters.js', 'convertWorldInfoToCharacterBook');

function dummy() {
    const answer = new Proxy(function () {}, {
        get: (target, key) => key === Symbol.toPrimitive ? () => '' : key === Symbol.iterator ? undefined : key === 'then' ? undefined : answer,
        apply: () => answer,
        construct: () => answer,
        has: () => true,
    });
    return answer;
}

let draws = [];
const draw = () => {
    if (!draws.length) throw new Error('no numbers left to draw');
    return draws.shift();
};
Math.random = draw;
const moment = need('moment');
moment.now = () => Date.UTC(2026, 2, 4, 15, 6, 7); // `now` of the tests
const pick = () => draw;
const state = { world: null, name: 'book' };
const metadata = { chat_id_hash: 1 };
const settings = { variables: { global: {} }, note: { allowWIScan: false } };
const characters = [{ name: 'Char', avatar: 'Char.png', data: { extensions: {} } }];
const chat = [];
const names = { user: 'User', char: 'Char' };
let fields = {};
let macros = null;
const prompts = { 'NOTE': { value: '' } };
const context = {
    extensionPrompts: {},
    tagMap: {},
    characters,
    characterId: 0,
    setExtensionPrompt: () => {},
};
globalThis.stubs = {
    Fuse: class {}, FilterHelper: class {}, moment, seedrandom: pick, droll: need('droll'), chevrotain: need('chevrotain'),
    chat_metadata: metadata, extension_settings: settings, chat, characters, this_chid: 0, groups: [], selected_group: null,
    extension_prompts: prompts, power_user: { instruct: {}, sysprompt: {}, context: {}, persona_description_lorebook: '' },
    eventSource: { emit: async () => {}, on: () => {} },
    event_types: new Proxy({}, { get: (target, key) => key }),
    extension_prompt_roles: { SYSTEM: 0, USER: 1, ASSISTANT: 2 },
    getContext: () => context,
    getTokenCountAsync: async (text) => text.split(/\s+/).filter(Boolean).length,
    getRegexedString: (text) => text,
    regex_placement: {}, debounce_timeout: {}, metadata_keys: {}, inject_ids: { CUSTOM_WI_OUTLET: (name) => 'outlet_' + name },
    shouldWIAddPrompt: false, NOTE_MODULE_NAME: 'NOTE', name1: 'User', name2: 'Char',
    GENERATION_TYPE_TRIGGERS: ['normal', 'continue', 'impersonate', 'swipe', 'regenerate', 'quiet'],
    substituteParams: (text) => macros ? macros(text) : text,
    getCurrentChatId: () => 'chat',
    getCharacterCardFieldsLazy: () => fields,
    getGeneratingModel: () => 'a-model',
    getMaxPromptTokens: () => 3000, getMaxContextTokens: () => 4096, getMaxResponseTokens: () => 300,
    isMobile: () => false,
    saveMetadataDebounced: () => {}, saveSettingsDebounced: () => {},
    parseMesExamples: (text) => parseMesExamples(text, false),
    main_api: 'textgenerationwebui', textgenerationwebui_banned_in_macros: [],
    findExtension: () => null,
};
globalThis.stub = (name) => name in globalThis.stubs ? globalThis.stubs[name] : dummy();
globalThis.$ = dummy();
globalThis.jQuery = globalThis.$;
globalThis.document = dummy();
globalThis.toastr = dummy();
globalThis.window = globalThis;
globalThis.structuredClone ??= (value) => JSON.parse(JSON.stringify(value));

const S = 'public/scripts/';
const real = [S + 'world-info.js', S + 'utils.js', S + 'variables.js', S + 'util/StructuredCloneMap.js',
    ...['MacroCstWalker', 'MacroDiagnostics', 'MacroEngine', 'MacroEnvBuilder', 'MacroFlags', 'MacroLexer', 'MacroParser', 'MacroRegistry']
        .map((name) => `${S}macros/engine/${name}.js`),
    ...['chat', 'core', 'env', 'instruct', 'state', 'time', 'variable'].map((name) => `${S}macros/definitions/${name}-macros.js`)];
register('./loader.mjs', import.meta.url, { data: { root, real } });
const load = (path) => import(pathToFileURL(`${root}/${path}`).href);

const variables = await load(S + 'variables.js');
globalThis.SillyTavern = { getContext: () => ({ variables: {
    local: { get: variables.getLocalVariable, set: variables.setLocalVariable, del: variables.deleteLocalVariable, add: variables.addLocalVariable,
        inc: variables.incrementLocalVariable, dec: variables.decrementLocalVariable, has: variables.existsLocalVariable },
    global: { get: variables.getGlobalVariable, set: variables.setGlobalVariable, del: variables.deleteGlobalVariable, add: variables.addGlobalVariable,
        inc: variables.incrementGlobalVariable, dec: variables.decrementGlobalVariable, has: variables.existsGlobalVariable },
} }) };
const { MacroEngine } = await load(S + 'macros/engine/MacroEngine.js');
const { MacroEnvBuilder } = await load(S + 'macros/engine/MacroEnvBuilder.js');
const { MacroRegistry } = await load(S + 'macros/engine/MacroRegistry.js');
for (const kind of ['Core', 'Env', 'State', 'Chat', 'Time', 'Variable', 'Instruct']) {
    (await load(`${S}macros/definitions/${kind.toLowerCase()}-macros.js`))[`register${kind}Macros`]();
}
const world = await load(S + 'world-info.js');
console.error = () => {};

function expand(text, original) {
    const env = MacroEnvBuilder.buildFromRawEnv({ content: text, name1Override: names.user, name2Override: names.char, original, replaceCharacterCard: true });
    return MacroEngine.evaluate(text, env);
}
macros = (text) => expand(text);

function clear(object, values) {
    for (const key of Object.keys(object)) delete object[key];
    Object.assign(object, values ?? {});
}

function prepare(request) {
    draws = [...(request.draws ?? [])];
    Object.assign(names, { user: 'User', char: 'Char' }, request.names);
    characters[0].name = names.char;
    characters[0].avatar = names.char + '.png';
    fields = request.fields ?? {};
    chat.splice(0, chat.length, ...(request.messages ?? []));
    clear(metadata, { chat_id_hash: 1, variables: { ...(request.variables ?? {}) }, timedWorldInfo: structuredClone(request.timed ?? {}) });
    settings.variables.global = { ...(request.globals ?? {}) };
    for (const key of Object.keys(prompts)) if (key.startsWith('outlet_')) delete prompts[key];
    for (const [key, value] of Object.entries(request.outlets ?? {})) prompts['outlet_' + key] = { value };
}

async function scan(request) {
    prepare(request);
    const data = request.book ? world.convertCharacterBook(structuredClone(request.book)) : structuredClone(request.world);
    const entries = Object.values(data.entries);
    world.updateWorldInfoSettings({ world_info_depth: 2, world_info_budget: 25, world_info_include_names: true, world_info_recursive: true,
        world_info_case_sensitive: false, world_info_match_whole_words: true, world_info_use_group_scoring: false, world_info_budget_cap: 0,
        world_info_min_activations: 0, world_info_min_activations_depth_max: 0, world_info_max_recursion_steps: 0, ...request.settings }, ['book']);
    world.worldInfoCache.set('book', data);
    const found = await world.checkWorldInfo(request.chat, request.context ?? 100000, false, {
        trigger: 'normal', personaDescription: '', characterDescription: '', characterPersonality: '', characterDepthPrompt: '', scenario: '', creatorNotes: '',
        ...request.sources });
    return {
        before: found.worldInfoBefore, after: found.worldInfoAfter,
        depth: found.WIDepthEntries, examples: found.EMEntries, noteTop: found.ANBeforeEntries, noteBottom: found.ANAfterEntries,
        outlets: found.outletEntries, active: [...found.allActivatedEntries].map((entry) => entry.uid), count: entries.length,
        timed: metadata.timedWorldInfo, drawsLeft: draws.length,
    };
}

function expandAll(request) {
    prepare(request);
    return request.texts.map((text) => {
        try {
            return expand(text, request.original);
        } catch (error) {
            return { error: String(error) };
        }
    });
}

function describe() {
    return MacroRegistry.getAllMacros().map(({ name, aliasOf, minArgs, maxArgs, list, strictArgs, delayArgResolution }) =>
        ({ name, aliasOf, minArgs, maxArgs, list, strictArgs, delayArgResolution }));
}

const exportBook = (request) => convertWorldInfoToCharacterBook(request.name, request.entries);

const parts = { newWorldInfoEntryTemplate: world.newWorldInfoEntryTemplate, world_info_logic: world.world_info_logic,
    world_info_position: world.world_info_position, DEFAULT_WEIGHT: world.DEFAULT_WEIGHT, extension_prompt_roles: globalThis.stubs.extension_prompt_roles };
const converters = Object.fromEntries(['NovelLorebook', 'AgnaiMemoryBook', 'RisuLorebook']
    .map((name) => [name, cut(S + 'world-info.js', 'convert' + name, parts)]));
const importBook = (request) => converters[request.kind](request.book);

const actions = { scan, export: exportBook, import: importBook, expand: expandAll, describe,
    matches: (request) => request.pairs.map(([key, text]) => {
        const pattern = world.parseRegexFromString(key);
        return pattern === null ? null : pattern.test(text);
    }) };
for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    try {
        write(await actions[request.do](request));
    } catch (error) {
        write({ error: String(error?.stack ?? error) });
    }
}
