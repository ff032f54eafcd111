// The shared memory and the matcher module: made once by the daemon, handed to every worker. What
// lies where is in assembly/layout.ts; nothing outside src/matcher looks inside.
import { existsSync, readFileSync } from 'node:fs';
import { MEMORY_PAGES_MAX, MEMORY_PAGES_MIN, PAGE_BYTES } from '../../assembly/layout.ts';
import { SallyportError } from '../base/errors.ts';

/** From src/matcher of a checkout, and from dist/src/matcher of the package. */
const WASM_PLACES = ['../../build/matcher.wasm', '../../../build/matcher.wasm'];

let compiled: WebAssembly.Module | null = null;

/** @throws SALLYPORT_INTERNAL when the module has not been built. */
export function loadModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(readFileSync(wasmFile()));
  return compiled;
}

function wasmFile(): URL {
  for (const place of WASM_PLACES) {
    const url = new URL(place, import.meta.url);
    if (existsSync(url)) return url;
  }
  throw new SallyportError(
    'SALLYPORT_INTERNAL',
    'build/matcher.wasm is missing; build it with `npm run build:wasm`',
  );
}

/** A memory with its control page and lanes, all zero: nothing published, every lane outside. */
export function createMemory(): WebAssembly.Memory {
  return new WebAssembly.Memory({
    initial: MEMORY_PAGES_MIN,
    maximum: MEMORY_PAGES_MAX,
    shared: true,
  });
}

/**
 * Makes the memory at least `end` bytes long. Threads keep their older, shorter views: those cover
 * the lanes, and the matcher itself always sees the whole memory.
 *
 * @throws SALLYPORT_POLICY_TOO_LARGE when the system does not give that much.
 */
export function growTo(memory: WebAssembly.Memory, end: number): void {
  const missing = Math.ceil((end - memory.buffer.byteLength) / PAGE_BYTES);
  if (missing <= 0) return;
  try {
    memory.grow(missing);
  } catch (cause) {
    throw new SallyportError(
      'SALLYPORT_POLICY_TOO_LARGE',
      `the compiled policy needs ${end} bytes of memory, which the system does not give`,
      { cause },
    );
  }
}
