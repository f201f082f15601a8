// Makes dist/my-policy.wasm: the class in src/policy.js, with the name and version of package.json and the schema of its settings.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { componentize } from '@bytecodealliance/componentize-js';

const EXPORTS = {
  auth: ['auth', 'forwardAuth'],
  model: ['model'],
  'rate-limit': ['rateLimit'],
  'tool-stop': ['toolStop'],
};

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { name, version, slot } = JSON.parse(await readFile(here('package.json'), 'utf8'));
const settingsSchema = await readFile(here('settings.schema.json'), 'utf8');
const exported = ['lifecycle', ...EXPORTS[slot]].map((part) => `export const ${part} = made.${part};\n`);
await mkdir(here('dist'), { recursive: true });
await writeFile(here('dist/component.js'), `import { component } from '../codex-policy.js';
import { Policy } from '../src/policy.js';
const made = component(Policy, ${JSON.stringify({ name, version, settingsSchema })});
${exported.join('')}`);
const { component } = await componentize({
  sourcePath: here('dist/component.js'),
  witPath: here('wit'),
  worldName: `${slot}-policy`,
  // A policy has no network; the gateway fixes random numbers, and sets the clock to the step of the need `now`. What it prints is in
  // the log.
  disableFeatures: ['random', 'http', 'fetch-event'],
});
await writeFile(here(`dist/${name}.wasm`), component);
console.log(`dist/${name}.wasm: ${(component.length / 1e6).toFixed(1)} MB`);
