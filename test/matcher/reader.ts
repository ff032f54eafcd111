// A worker thread that matches in a loop until it is told to stop, and checks each verdict against
// the generation that it carries. publish.test.ts starts it.
import { parentPort, workerData } from 'node:worker_threads';
import { Lane } from '../../src/matcher/lane.ts';
import { ask } from './rules.ts';

export type ReaderTask = {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly lane: number;
  /** i32: the last acknowledged generation; not 0 to stop; matches so far of each lane. */
  readonly shared: SharedArrayBuffer;
};
export type ReaderReport = { readonly faults: readonly string[]; readonly generations: number };

export const ACKNOWLEDGED = 0;
export const STOP = 1;
export const MATCHES = 2;

/** In odd generations `odd` allows x.com, in even ones `even` denies it. */
function run({ memory, module, lane: number, shared }: ReaderTask): ReaderReport {
  const words = new Int32Array(shared);
  const lane = new Lane(memory, module, number);
  const question = ask('x.com');
  const faults: string[] = [];
  const generations = new Set<number>();
  while (Atomics.load(words, STOP) === 0 && faults.length < 10) {
    const acknowledged = Atomics.load(words, ACKNOWLEDGED);
    const { generation, rule, action } = lane.match(question);
    const expected = generation % 2 === 1 ? 'odd allow' : 'even deny';
    if (`${rule} ${action}` !== expected) faults.push(`${generation}: ${rule} ${action}`);
    if (generation < acknowledged) faults.push(`${generation} after ${acknowledged}`);
    generations.add(generation);
    Atomics.add(words, MATCHES + number, 1);
    Atomics.notify(words, MATCHES + number);
  }
  return { faults, generations: generations.size };
}

parentPort?.postMessage(run(workerData as ReaderTask));
