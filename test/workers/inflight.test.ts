// In-flight slots from both sides of the shared memory, and src/workers/interrupted.ts.
import tap from 'tap';
import { EXCHANGES_PER_WORKER_MAX } from '../../src/base/limits.ts';
import { createInflight, Inflight } from '../../src/workers/inflight.ts';
import { interruptedOutcome } from '../../src/workers/interrupted.ts';

tap.test('what a worker left open can be read by the other side', async (t) => {
  const memory = createInflight();
  const worker = new Inflight(memory);
  const daemon = new Inflight(memory);
  t.same(daemon.interrupted(), []);
  const first = worker.take(1_700_000_000_123.5, 'connect', 'CONNECT', 'example.com', 443);
  const second = worker.take(2, 'forward', 'GET', '2001:db8::1', 65_535);
  worker.name(first, 'box');
  t.same(daemon.interrupted(), [
    {
      slot: first,
      timeMs: 1_700_000_000_123.5,
      sandbox: 'box',
      ingress: 'connect',
      method: 'CONNECT',
      host: 'example.com',
      port: 443,
    },
    {
      slot: second,
      timeMs: 2,
      sandbox: '',
      ingress: 'forward',
      method: 'GET',
      host: '2001:db8::1',
      port: 65_535,
    },
  ]);
  daemon.free(first);
  t.same(
    daemon.interrupted().map(({ slot }) => slot),
    [second],
  );
});

tap.test('the longest words stay in their places', async (t) => {
  const memory = createInflight();
  const inflight = new Inflight(memory);
  const host = `${'h'.repeat(63)}.`.repeat(4).slice(0, 253);
  const slots = [0, 1, 2].map((i) => inflight.take(i, 'connect', 'M'.repeat(300), host, 1 + i));
  for (const slot of slots) inflight.name(slot, 's'.repeat(300));
  t.same(
    inflight.interrupted(),
    slots.map((slot, i) => ({
      slot,
      timeMs: i,
      sandbox: 's'.repeat(63),
      ingress: 'connect',
      method: 'M'.repeat(31),
      host,
      port: 1 + i,
    })),
  );
});

tap.test('a slot that is used again remembers nothing', async (t) => {
  const inflight = new Inflight(createInflight());
  const taken = new Set<number>();
  for (let i = 0; i < EXCHANGES_PER_WORKER_MAX; i++)
    taken.add(inflight.take(i, 'connect', 'CONNECT', 'long.example.com', 443));
  t.equal(taken.size, EXCHANGES_PER_WORKER_MAX);
  t.equal(inflight.take(0, 'forward', 'GET', 'a', 1), -1);
  inflight.name(9, 'box');
  inflight.free(9);
  t.equal(inflight.take(5, 'forward', 'GET', 'a', 80), 9);
  t.match(inflight.interrupted()[9], {
    sandbox: '',
    host: 'a',
    method: 'GET',
    ingress: 'forward',
    port: 80,
  });
  t.equal(inflight.interrupted().length, EXCHANGES_PER_WORKER_MAX);
});

tap.test('the record of what a death ended has what the slot knew', async (t) => {
  const inflight = new Inflight(createInflight());
  const slot = inflight.take(5_000, 'connect', 'CONNECT', 'a.test', 443);
  inflight.name(slot, 'box');
  const [left] = inflight.interrupted();
  if (left === undefined) throw new Error('nothing was left');
  t.match(interruptedOutcome(left, 7_000), {
    slot,
    time_ms: 5_000,
    sandbox: 'box',
    mode: 'forward-bypass',
    method: 'CONNECT',
    path: null,
    host: 'a.test',
    verdict: 'none',
    code: 'SALLYPORT_INTERRUPTED',
    duration_ms: 2_000,
  });
  t.equal(interruptedOutcome(left, 4_000).duration_ms, 0, 'a clock may be put back');
});
