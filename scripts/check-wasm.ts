// Looks over the built matcher. A data segment would be copied over live shared memory by every
// thread that instantiates the module (assembly/layout.ts), and an import other than the memory
// would be a way out of the sandbox that the matcher is. Either fails the build.
import { readFileSync } from 'node:fs';

const [stem = 'build/matcher'] = process.argv.slice(2); // Of the .wat and the .wasm.
const wat = readFileSync(new URL(`../${stem}.wat`, import.meta.url), 'utf8');
const wasm = readFileSync(new URL(`../${stem}.wasm`, import.meta.url));

const faults: string[] = [];
if (wat.includes('(data')) faults.push('it has a data segment: remove static strings and arrays');
for (const { module, name } of WebAssembly.Module.imports(new WebAssembly.Module(wasm))) {
  if (`${module}.${name}` !== 'env.memory') faults.push(`it imports ${module}.${name}`);
}
for (const fault of faults) process.stderr.write(`build/matcher.wasm: ${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;
