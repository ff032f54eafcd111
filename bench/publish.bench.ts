// Question   How long until a changed policy is in force, and how long does a matching thread stall?
// Budget     1 s at 10^6 rules; no stall over 20 ms.
// Method     One worker thread matches without a pause while this thread publishes; it notes the
//            longest time between two matches, first without a publication (the machine's own
//            noise), then during them. 5 publications, one rule changed each time. The rules are of
//            users, 500 kits and an organisation.
// Read as    compile + commit is what a rule change waits for. A stall counts as far as it exceeds
//            the idle one: threads share cores with everything else on the machine.
// Run        npm run bench -- publish [--smoke]
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Lane } from '../src/matcher/lane.ts';
import { type Publication, Publisher } from '../src/matcher/publish.ts';
import { questionsFor, randomHosts, rulesFor } from './policy.ts';

const smoke = process.argv.includes('--smoke');
const SIZES = smoke ? [1_000] : [1_000, 10_000, 100_000, 1_000_000];
const PUBLICATIONS = 5;
const IDLE_MS = smoke ? 100 : 1_000;

const READY = 0;
const STOP = 1;
const STALL_US = 2;

type Task = {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly shared: SharedArrayBuffer;
};

/** Matches until told to stop; keeps the longest gap, in microseconds, in shared memory. */
function read({ memory, module, shared }: Task): void {
  const words = new Int32Array(shared);
  const lane = new Lane(memory, module, 0);
  const questions = questionsFor(randomHosts(1_000), 1_024);
  let lastMs = performance.now();
  while (Atomics.load(words, STOP) === 0) {
    for (const question of questions) {
      lane.match(question);
      const nowMs = performance.now();
      const gapUs = Math.round((nowMs - lastMs) * 1_000);
      if (gapUs > Atomics.load(words, STALL_US)) Atomics.store(words, STALL_US, gapUs);
      lastMs = nowMs;
    }
    if (Atomics.exchange(words, READY, 1) === 0) Atomics.notify(words, READY);
  }
}

async function measure(size: number): Promise<void> {
  const rules = rulesFor(randomHosts(size), 'mixed');
  const publisher = await Publisher.create();
  const shared = new SharedArrayBuffer(16);
  const words = new Int32Array(shared);
  const { memory, module } = publisher;
  const task: Task = { memory, module, shared };
  const worker = new Worker(new URL(import.meta.url), {
    workerData: task,
    argv: process.argv.slice(2),
  });
  const exited = once(worker, 'exit');
  await Atomics.waitAsync(words, READY, 0).value;
  await setTimeout(IDLE_MS); // The reader's code is compiled by now.
  Atomics.store(words, STALL_US, 0);
  await setTimeout(IDLE_MS);
  const idleUs = Atomics.exchange(words, STALL_US, 0);
  const all: Publication[] = [];
  for (let i = 0; i < PUBLICATIONS; i++) {
    const last = rules.pop();
    if (last !== undefined) rules.push({ ...last, decision: i % 2 === 0 ? 'deny' : 'allow' });
    all.push(await publisher.publish(rules));
  }
  const stallUs = Atomics.load(words, STALL_US);
  Atomics.store(words, STOP, 1);
  await exited;
  report(size, all, idleUs, stallUs);
}

function report(size: number, all: readonly Publication[], idleUs: number, stallUs: number): void {
  const totals = all.map(({ compileMs, commitMs }) => compileMs + commitMs);
  const first = all[0];
  const sorted = totals.toSorted((a, b) => a - b);
  process.stdout.write(
    `publish  ${String(size).padStart(7)} rules  ${((first?.bytes ?? 0) / 1e6).toFixed(1)} MB` +
      `  first ${totals[0]?.toFixed(0)} ms (commit ${first?.commitMs.toFixed(0)})` +
      `  median ${sorted[PUBLICATIONS >> 1]?.toFixed(0)} ms  worst ${sorted.at(-1)?.toFixed(0)} ms` +
      `  stall ${(stallUs / 1e3).toFixed(1)} ms (idle ${(idleUs / 1e3).toFixed(1)})\n`,
  );
}

if (isMainThread) {
  for (const size of SIZES) await measure(size);
  process.stdout.write('publish  budget 1000 ms at 10^6 rules, stall 20 ms\n');
} else {
  read(workerData as Task);
  parentPort?.close();
}
