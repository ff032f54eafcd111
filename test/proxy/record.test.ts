// One outcome per exchange, neither more nor fewer, and waiting instead of loss.
import tap, { type Test } from 'tap';
import {
  AUDIT_PATH_BYTES_MAX,
  EXCHANGES_PER_WORKER_MAX,
  OUTCOME_BATCH_MAX,
  SLOT_WAIT_MS_MAX,
} from '../../src/base/limits.ts';
import type { Outcome, Slots } from '../../src/proxy/exchange.ts';
import { type Entry, Recorder } from '../../src/proxy/record.ts';
import { createInflight, Inflight } from '../../src/workers/inflight.ts';
import { within } from '../helpers/wire.ts';

type World = {
  recorder: Recorder;
  batches: (readonly Outcome[])[];
  slots: FewSlots;
  clock: { ms: number };
};

class FewSlots implements Slots {
  free: number[];
  readonly names = new Map<number, string>();

  constructor(count: number) {
    this.free = Array.from({ length: count }, (_, slot) => slot);
  }

  take(): number {
    return this.free.shift() ?? -1;
  }

  name(slot: number, sandbox: string): void {
    this.names.set(slot, sandbox);
  }
}

function world(t: Test, count: number): World {
  const clock = { ms: 1_000 };
  const batches: (readonly Outcome[])[] = [];
  const slots = new FewSlots(count);
  const recorder = new Recorder(
    { wallMs: () => 5_000 + clock.ms, monotonicMs: () => clock.ms },
    slots,
    (batch) => batches.push(batch),
  );
  t.teardown(() => recorder.flush());
  return { recorder, batches, slots, clock };
}

const NAMED = { method: 'GET', host: 'a.test', port: 80, path: '/' };

function now(entry: Entry | Promise<Entry>): Entry {
  if (entry instanceof Promise) throw new Error('there should have been a slot');
  return entry;
}

tap.test('an entry becomes one outcome, however often it is closed', async (t) => {
  const { recorder, batches, slots, clock } = world(t, 4);
  const entry = now(recorder.open('forward', NAMED));
  entry.identified('box');
  t.equal(slots.names.get(0), 'box');
  clock.ms += 12.3456;
  entry.draft.status = 200;
  entry.close();
  entry.close();
  recorder.flush();
  recorder.flush();
  t.equal(batches.length, 1);
  t.match(batches[0], [
    {
      slot: 0,
      time_ms: 6_000,
      sandbox: 'box',
      mode: 'forward',
      ...NAMED,
      duration_ms: 12.346,
      verdict: 'none',
    },
  ]);
  t.equal(batches[0]?.length, 1);
});

tap.test('a path is recorded without its query, and cut where it is long', async (t) => {
  const { recorder } = world(t, 4);
  const recorded = (path: string): string | null =>
    now(recorder.open('forward', { ...NAMED, path })).draft.path;
  t.equal(recorded('/a;b/%2F?token=secret?&c'), '/a;b/%2F');
  t.equal(recorded('?token=secret'), '');
  t.equal(recorded(''), null, 'CONNECT has none');
  t.equal(
    recorded(`/${'p'.repeat(AUDIT_PATH_BYTES_MAX)}`),
    `/${'p'.repeat(AUDIT_PATH_BYTES_MAX - 1)}…`,
  );
});

tap.test('a full batch leaves at once', async (t) => {
  const { recorder, batches } = world(t, OUTCOME_BATCH_MAX + 1);
  for (let i = 0; i <= OUTCOME_BATCH_MAX; i++) now(recorder.open('connect', NAMED)).close();
  t.equal(batches[0]?.length, OUTCOME_BATCH_MAX);
  recorder.flush();
  t.equal(batches[1]?.length, 1);
});

tap.test('without a slot an exchange waits, first come first served', async (t) => {
  const { recorder, slots } = world(t, 1);
  now(recorder.open('forward', NAMED));
  const order: string[] = [];
  const waiting = ['b', 'c', 'd'].map((host) => {
    const opened = recorder.open('forward', { ...NAMED, host });
    if (!(opened instanceof Promise)) throw new Error('there should have been no slot');
    return opened.then((entry) => order.push(entry.draft.host));
  });
  slots.free.push(7, 8);
  await within('two of them', Promise.all(waiting.slice(0, 2)));
  t.same(order, ['b', 'c']);
  slots.free.push(9);
  await within('the last', Promise.all(waiting));
  t.same(order, ['b', 'c', 'd']);
  slots.free.push(3);
  t.equal(now(recorder.open('forward', NAMED)).draft.slot, 3);
});

tap.test('all slots of a worker are used before anybody waits', async (t) => {
  const inflight = new Inflight(createInflight());
  const recorder = new Recorder({ wallMs: () => 1, monotonicMs: () => 1 }, inflight, () => {});
  for (let i = 0; i < EXCHANGES_PER_WORKER_MAX; i++) now(recorder.open('forward', NAMED));
  const next = recorder.open('forward', NAMED);
  t.ok(next instanceof Promise);
  inflight.free(4_711);
  t.equal((await within('the slot', Promise.resolve(next))).draft.slot, 4_711);
});

function rejected(opened: Entry | Promise<Entry>): Promise<unknown> {
  return within(
    'a refusal',
    Promise.resolve(opened).then(
      () => 'no refusal',
      (error: unknown) => error,
    ),
  );
}

tap.test('while the audit cannot be written nothing begins, and then it is refused', async (t) => {
  const { recorder, slots, clock } = world(t, 4);
  recorder.available = false;
  const first = recorder.open('forward', NAMED);
  clock.ms += SLOT_WAIT_MS_MAX - 1;
  const second = recorder.open('forward', NAMED);
  recorder.available = false; // Still: the time counts from the first word of it.
  clock.ms += 1;
  t.match(await rejected(first), { code: 'SALLYPORT_AUDIT_UNAVAILABLE' });
  const late = recorder.open('forward', NAMED);
  t.match(await rejected(late), { code: 'SALLYPORT_AUDIT_UNAVAILABLE' }, 'without a wait');
  t.strictSame(recorder.takeRefused(), [
    { code: 'SALLYPORT_AUDIT_UNAVAILABLE', count: 2, fromMs: 11_000, toMs: 11_000 },
  ]);
  t.strictSame(recorder.takeRefused(), [], 'told once');
  t.equal(slots.free.length, 4, 'no slot was taken');
  recorder.available = true;
  t.equal((await within('the second', Promise.resolve(second))).draft.host, 'a.test');
});

tap.test('what finds no slot for too long is refused', async (t) => {
  const { recorder, clock } = world(t, 1);
  now(recorder.open('forward', NAMED));
  const next = recorder.open('forward', NAMED);
  clock.ms += SLOT_WAIT_MS_MAX;
  t.match(await rejected(next), { code: 'SALLYPORT_OVERLOADED' });
  t.match(recorder.takeRefused(), [{ code: 'SALLYPORT_OVERLOADED', count: 1 }]);
});
