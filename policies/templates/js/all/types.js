// Writes types/: the TypeScript types of inputs and answers, for editors, from the contract in wit/.

import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { $init, generateTypes } from '@bytecodealliance/jco-transpile/component';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { slot } = JSON.parse(await readFile(here('package.json'), 'utf8'));
await $init;
const names = (await readdir(here('wit'))).filter((name) => name.endsWith('.wit'));
const texts = await Promise.all(names.map((name) => readFile(here(`wit/${name}`), 'utf8')));
// One text, as `jco types` reads no folder in every Node: with one line that names the package.
const [line] = texts[0].match(/^package .*;$/m);
const val = [line, ...texts.map((text) => text.replace(line, ''))].join('\n');
const world = `${slot}-policy`;
const options = { wit: { tag: 'source', val }, world, features: { tag: 'list', val: [] }, tlaCompat: false, guest: true };
for (const [path, text] of generateTypes(world, options)) {
  await mkdir(dirname(here(`types/${path}`)), { recursive: true });
  await writeFile(here(`types/${path}`), text);
}
console.log(`types/${world}.d.ts`);
