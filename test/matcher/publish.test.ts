import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { IMAGES_BASE, LANE_BYTES, LANES_BASE } from '../../assembly/layout.ts';
import { RULES_MAX } from '../../src/base/limits.ts';
import { Lane } from '../../src/matcher/lane.ts';
import { Publisher } from '../../src/matcher/publish.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { ACKNOWLEDGED, MATCHES, type ReaderReport, type ReaderTask, STOP } from './reader.ts';
import { ask, rule } from './rules.ts';

const LANE = 63;

const ODD = [rule('odd', 'allow', 'x.com'), ...filler(2_000)];
const EVEN = [rule('even', 'deny', 'x.com'), ...filler(30)];

function filler(count: number): Rule[] {
  return Array.from({ length: count }, (_, i) => rule(`filler-${i}`, 'allow', `h${i}.example.net`));
}

t.test('publications are numbered and replace what was there', async (t) => {
  const publisher = await Publisher.create();
  const lane = new Lane(publisher.memory, publisher.module, LANE);
  t.equal(publisher.generation, 0);
  const first = await publisher.publish(ODD);
  t.equal(first.generation, 1);
  t.ok(first.bytes > 2_000 * 32 && first.compileMs > 0 && first.commitMs > 0);
  t.match(lane.match(ask('x.com')), { rule: 'odd', generation: 1 });
  t.match(await publisher.publish(EVEN), { generation: 2 });
  t.match(lane.match(ask('x.com')), { rule: 'even', generation: 2 });
  t.match(lane.match(ask('h31.example.net')), { kind: 'implicit' }, 'nothing of the first is left');
  await publisher.publish([]);
  t.match(lane.match(ask('x.com')), { kind: 'implicit', action: 'deny', generation: 3 });
  t.equal(publisher.generation, 3);
});

t.test('preparing changes nothing; commits take turns', async (t) => {
  const publisher = await Publisher.create();
  const lane = new Lane(publisher.memory, publisher.module, LANE);
  const [odd, even] = [publisher.prepare(ODD), publisher.prepare(EVEN)];
  t.match(lane.match(ask('x.com')), { generation: 0 });
  const [first, second] = await Promise.all([publisher.commit(odd), publisher.commit(even)]);
  t.strictSame([first.generation, second.generation], [1, 2]);
  t.match(lane.match(ask('x.com')), { rule: 'even', generation: 2 });
  await t.rejects(publisher.commit(odd), { code: 'SALLYPORT_INTERNAL' }, 'its buffers are reused');
  t.match(lane.match(ask('x.com')), { rule: 'even', generation: 2 });
});

t.test('images of any size order stay whole, in little memory', async (t) => {
  const publisher = await Publisher.create();
  const lane = new Lane(publisher.memory, publisher.module, LANE);
  let largest = 0;
  for (const count of [0, 5_000, 10, 4_000, 6_000, 6_000, 1, 5_000, 0, 0, 6_000]) {
    const { bytes, generation } = await publisher.publish([
      ...filler(count),
      rule('x', 'allow', 'x.com'),
    ]);
    largest = Math.max(largest, bytes);
    t.match(lane.match(ask('x.com')), { rule: 'x', generation });
    if (count > 0)
      t.match(lane.match(ask(`h${count - 1}.example.net`)), { rule: `filler-${count - 1}` });
  }
  const used = publisher.memory.buffer.byteLength - IMAGES_BASE;
  t.ok(used < 3 * largest + 65_536, `${used} bytes for images of at most ${largest}`);
});

t.test('a policy that does not fit is refused with its size, the old one stays', async (t) => {
  const publisher = await Publisher.create();
  const lane = new Lane(publisher.memory, publisher.module, LANE);
  await publisher.publish(ODD);
  const tooMany = new Array<Rule>(RULES_MAX + 1);
  t.throws(() => publisher.prepare(tooMany), {
    code: 'SALLYPORT_POLICY_TOO_LARGE',
    message: /1048576 rules; at most 1048575/,
  });
  await t.rejects(publisher.publish(tooMany), { code: 'SALLYPORT_POLICY_TOO_LARGE' });
  t.match(lane.match(ask('x.com')), { rule: 'odd', generation: 1 });
});

t.test('a lane stuck inside a match is told, and freed when its thread is gone', async (t) => {
  const publisher = await Publisher.create({ waitMs: 20 });
  const lane = new Lane(publisher.memory, publisher.module, LANE);
  await publisher.publish(ODD);
  const stuck = 5;
  const epoch = new Int32Array(publisher.memory.buffer, LANES_BASE + stuck * LANE_BYTES, 1);
  Atomics.store(epoch, 0, 7);
  const late = { code: 'SALLYPORT_PUBLISH_TIMEOUT', message: /lane 5/ };
  await t.rejects(publisher.publish(EVEN), late);
  t.match(lane.match(ask('x.com')), { rule: 'even', generation: 2 }, 'in force in the other lanes');
  await t.rejects(publisher.publish(ODD), late, 'the stuck lane may still read the first image');
  t.match(lane.match(ask('x.com')), { rule: 'even', generation: 2 }, 'so nothing was written');
  publisher.releaseLane(stuck);
  t.equal(Atomics.load(epoch, 0), 8);
  publisher.releaseLane(stuck);
  t.equal(Atomics.load(epoch, 0), 8, 'a lane outside a match is left alone');
  t.match(await publisher.publish(ODD), { generation: 3 });
  t.match(lane.match(ask('x.com')), { rule: 'odd', generation: 3 });
});

t.test('two threads match while 200 policies are published', async (t) => {
  const publisher = await Publisher.create();
  await publisher.publish(ODD);
  const shared = new SharedArrayBuffer(64);
  const words = new Int32Array(shared);
  Atomics.store(words, ACKNOWLEDGED, 1);
  const { memory, module } = publisher;
  const readers = [0, 1].map((lane) => {
    const workerData: ReaderTask = { memory, module, lane, shared };
    const worker = new Worker(new URL('./reader.ts', import.meta.url), { workerData });
    return { lane, report: once(worker, 'message') as Promise<[ReaderReport]> };
  });
  for (const { lane } of readers) await Atomics.waitAsync(words, MATCHES + lane, 0).value;
  for (let i = 0; i < 200; i++) {
    const { generation } = await publisher.publish(i % 2 === 0 ? EVEN : ODD);
    Atomics.store(words, ACKNOWLEDGED, generation);
    if (i % 4 !== 0) continue; // Most publications follow at once; now and then both have matched.
    for (const { lane } of readers) {
      const at = MATCHES + lane;
      await Atomics.waitAsync(words, at, Atomics.load(words, at)).value;
    }
  }
  Atomics.store(words, STOP, 1);
  for (const { lane, report } of readers) {
    const [{ faults, generations }] = await report;
    t.strictSame(faults, [], `lane ${lane}: rule and generation agree, none is older than told`);
    t.ok(generations > 20, `lane ${lane} saw ${generations} generations`);
    const matches = Atomics.load(words, MATCHES + lane);
    t.ok(matches > 50, `lane ${lane}: ${matches} matches`);
  }
});
