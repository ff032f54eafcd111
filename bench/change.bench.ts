// Question   How long does a rule change take under load, and what does it do to requests?
// Budget     10^6 rules in force within 1 s; no request stalled over 20 ms because of it.
// Method     The real daemon with one worker; a client sends one small request after the other on a
//            kept connection and notes each duration. The store is filled to 10^n rules; then single
//            rules are added, and the longest request meanwhile is held against the longest of the
//            same span without changes, before it.
// Read as    change: from the call to the answer, when all workers enforce it. stall: how much
//            longer the longest request became. The change waits for SQLite and the compile, the
//            request only for the flip.
// Run        npm run bench -- change [--smoke]
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ControlClient } from '../src/control/api/client.ts';
import type { Ports } from './peers/peer.ts';
import { startSallyport } from './peers/sallyport.ts';
import { firstLine, start, stop } from './process.ts';
import { table } from './table.ts';

const smoke = process.argv.includes('--smoke');
const SIZES = smoke ? [1_000] : [1_000, 10_000, 100_000, 1_000_000];
const CHANGES = smoke ? 2 : 5;
const BATCH = 50_000;
const PRESET_RULES = 10;

/** Sends requests one after the other until stopped; keeps the longest duration. */
class Stream {
  readonly #socket: Socket;
  readonly #request: string;
  #longestMs = 0;
  #going = true;
  count = 0;

  constructor(socket: Socket, originPort: number) {
    const host = `127.0.0.1:${originPort}`;
    this.#socket = socket;
    this.#request = `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    void this.#run();
  }

  /** The longest since the last call. */
  takeLongestMs(): number {
    const longest = this.#longestMs;
    this.#longestMs = 0;
    return longest;
  }

  stop(): void {
    this.#going = false;
    this.#socket.destroy();
  }

  async #run(): Promise<void> {
    while (this.#going) {
      const began = performance.now();
      this.#socket.write(this.#request);
      const [answer] = await once(this.#socket, 'data');
      if (!answer.includes(' 200 '))
        throw new Error('a request of the stream was not answered with 200');
      this.#longestMs = Math.max(this.#longestMs, performance.now() - began);
      this.count++;
      await setTimeout(1); // A request a millisecond: dense enough to meet every stall, light enough to share a core.
    }
  }
}

async function fill(client: ControlClient, from: number, to: number): Promise<number> {
  const began = performance.now();
  for (let at = from; at < to; at += BATCH) {
    const rules = Array.from({ length: Math.min(BATCH, to - at) }, (_, i) => ({
      decision: 'allow',
      resources: `host-${at + i}.zone-${(at + i) % 997}.example`,
    }));
    await client.post('/policy/network/rules/batch', { rules });
  }
  return performance.now() - began;
}

const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));
const originProcess = start(process.execPath, [join(import.meta.dirname, 'origin.ts')]);
try {
  const origin = await firstLine<Ports>(originProcess);
  const daemon = await startSallyport(folder, `127.0.0.1:${origin.small}`);
  const { socket: path } = JSON.parse(daemon.run('daemon', 'status', '--json'));
  const client = new ControlClient(path);
  const socket = connect(daemon.port, '127.0.0.1');
  await once(socket, 'connect');
  const stream = new Stream(socket, origin.small);
  const rows: string[][] = [];
  let rules = PRESET_RULES;
  for (const size of SIZES) {
    const fillMs = await fill(client, rules, size - PRESET_RULES);
    rules = size - PRESET_RULES;
    const durations: number[] = [];
    stream.takeLongestMs();
    await setTimeout(smoke ? 100 : 2_000);
    const idleMs = stream.takeLongestMs();
    for (let change = 0; change < CHANGES; change++) {
      const began = performance.now();
      await client.post('/policy/network/rules', {
        decision: 'deny',
        resources: `new-${size}-${change}.example`,
      });
      durations.push(performance.now() - began);
    }
    const longestMs = stream.takeLongestMs();
    durations.sort((a, b) => a - b);
    const [median = 0, worst = 0] = [durations[Math.floor(CHANGES / 2)], durations.at(-1)];
    rows.push(
      [size, fillMs, median, worst, idleMs, longestMs].map((n, i) => n.toFixed(i === 0 ? 0 : 1)),
    );
  }
  stream.stop();
  await client.close();
  await daemon.stop();
  process.stdout.write(
    table(
      [
        'rules',
        'fill ms',
        'change ms',
        'worst ms',
        'longest request, idle ms',
        'while changing ms',
      ],
      rows,
    ),
  );
} finally {
  await stop(originProcess);
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
