import t from 'tap';
import { IMAGES_BASE, MEMORY_PAGES_MIN, PAGE_BYTES } from '../../assembly/layout.ts';
import { createMemory, growTo, loadModule } from '../../src/matcher/memory.ts';

t.test('a new memory is shared and holds the control page and all lanes', async (t) => {
  const { buffer } = createMemory();
  t.ok(buffer instanceof SharedArrayBuffer);
  t.equal(buffer.byteLength, IMAGES_BASE);
});

t.test('the module wants the memory and nothing else', async (t) => {
  const module = loadModule();
  t.equal(loadModule(), module, 'compiled once');
  const imports = WebAssembly.Module.imports(module).map(({ module, name }) => `${module}.${name}`);
  t.strictSame(imports, ['env.memory']);
});

t.test('two instances do not disturb what is in the memory', async (t) => {
  const memory = createMemory();
  const bytes = new Uint8Array(memory.buffer);
  for (let at = 0; at < bytes.length; at += 97) bytes[at] = at;
  const before = bytes.slice();
  for (let i = 0; i < 2; i++) new WebAssembly.Instance(loadModule(), { env: { memory } });
  t.ok(Buffer.from(before).equals(bytes), 'no data segment was copied in');
});

t.test('memory grows to what is asked, and not at all when that is there', async (t) => {
  const memory = createMemory();
  growTo(memory, IMAGES_BASE);
  t.equal(memory.buffer.byteLength, IMAGES_BASE);
  growTo(memory, IMAGES_BASE + 1);
  t.equal(memory.buffer.byteLength, IMAGES_BASE + PAGE_BYTES);
});

t.test('a memory that cannot grow says how much was needed', async (t) => {
  const pages = MEMORY_PAGES_MIN;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const needed = IMAGES_BASE + 5;
  t.throws(() => growTo(memory, needed), {
    code: 'SALLYPORT_POLICY_TOO_LARGE',
    message: new RegExp(String(needed)),
  });
});
