import t from 'tap';
import {
  IMAGES_BASE,
  LANE_ADDRESS,
  LANE_BYTES,
  LANE_HOST,
  LANE_METHOD,
  LANE_PATH,
  LANE_PATH_BYTES,
  LANE_PATH_LENGTH,
  LANE_RULE_ID,
  LANE_TAGS,
  LANE_TAGS_COUNT,
  LANES_BASE,
  LANES_MAX,
  MEMORY_PAGES_MIN,
  PAGE_BYTES,
  RULE_ID_MAX,
} from '../../assembly/layout.ts';
import {
  HOST_BYTES_MAX,
  HTTP_PATH_BYTES_MAX,
  RULE_ID_BYTES_MAX,
  WORKERS_MAX,
} from '../../src/base/limits.ts';
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

t.test('what a lane holds does not overlap, and has room for its bounds', async (t) => {
  const regions: [at: number, bytes: number][] = [
    [LANE_RULE_ID, RULE_ID_MAX],
    [LANE_ADDRESS, 16],
    [LANE_HOST, HOST_BYTES_MAX],
    [LANE_METHOD, 4],
    [LANE_PATH_LENGTH, 4],
    [LANE_PATH, LANE_PATH_BYTES],
    [LANE_TAGS, LANE_TAGS_COUNT * 4],
    [LANE_BYTES, 0],
  ];
  for (const [i, [at, bytes]] of regions.entries()) {
    const [next] = regions[i + 1] ?? [LANE_BYTES];
    t.ok(at + bytes <= next, `${at} + ${bytes} <= ${next}`);
  }
  t.equal(RULE_ID_MAX, RULE_ID_BYTES_MAX);
  t.equal(LANE_PATH_BYTES, HTTP_PATH_BYTES_MAX);
  t.equal(LANES_MAX, WORKERS_MAX + 1);
  t.equal(IMAGES_BASE, LANES_BASE + LANES_MAX * LANE_BYTES);
});
