// Question   What does one audit record cost the daemon's thread, and how much of it is the chain?
// Budget     The chain costs at most half as much again as the record without it, and 2 us.
// Method     1 thread, this process alone. Batches of 256 outcomes, to 200 hosts, each request with
//            a path of its own, are made into lines, with and without the chain, and appended to a
//            file. Both take turns, 9 rounds after 2 discarded; CPU is that of the process, so what
//            other programs do counts for little. The last row has Audit itself, with its queue.
// Read as    The ratio of the medians. Lines per second are those of a core that does nothing else;
//            a proxy spends ten times as much on the exchange itself.
// Run        npm run bench -- audit [--smoke]
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../src/base/clock.ts';
import { Audit } from '../src/control/audit/audit.ts';
import { Chain, GENESIS } from '../src/control/audit/chain.ts';
import { AuditFile } from '../src/control/audit/files.ts';
import { NATIVE } from '../src/control/audit/record.ts';
import { AUDIT_DEFAULTS } from '../src/control/audit/settings.ts';
import type { Outcome } from '../src/proxy/exchange.ts';
import { table } from './table.ts';

const smoke = process.argv.includes('--smoke');
const BATCH = 256; // 128 KiB: more than what Audit holds back for its next flush.
const BATCHES = smoke ? 10 : 400;
const ROUNDS = smoke ? 3 : 9;
const DISCARDED = 2;
const HOSTS = 200;
const CHAIN_US_MAX = 2;

function outcome(i: number): Outcome {
  return {
    slot: i % 16_384,
    time_ms: 1_780_000_000_000 + i / 50,
    sandbox: 'sandbox-of-the-bench',
    ingress: 'connect',
    mode: 'forward',
    method: 'GET',
    path: `/v1/items/${i}/parts`,
    host: `host-${i % HOSTS}.example.com`,
    port: 443,
    address: '192.0.2.1',
    verdict: 'allow',
    deny_kind: null,
    rule: 'default-ai-services',
    source: 'local',
    reason: null,
    code: null,
    bypass: null,
    injected: null,
    masked: 0,
    status: 200,
    bytes_up: 0,
    bytes_down: 512 + (i % 4_096),
    decide_ms: 0.041,
    connect_ms: 0.187,
    duration_ms: 12.345,
    generation: 7,
  };
}

type Writer = (batch: readonly Outcome[]) => Promise<void>;

/** The same line with a hash that costs nothing. */
function unchained(): (body: string) => string {
  let seq = 1;
  return (body) => `{"version":1,"seq":${seq++},${body},"prev":"${GENESIS}"}\n`;
}

async function linesTo(folder: string, lineOf: (body: string) => string): Promise<Writer> {
  const limits = { fileBytesMax: 1e8, fileMsMax: Number.POSITIVE_INFINITY };
  const { file } = await AuditFile.open(folder, limits);
  let seq = 1;
  return async (batch) => {
    const lines = batch.map((one) => lineOf(NATIVE.exchange(one))).join('');
    await file.append(Buffer.from(lines), seq, systemClock.wallMs());
    seq += batch.length;
  };
}

/** @returns microseconds of CPU a record. */
async function roundOf(write: Writer, from: number): Promise<number> {
  const before = process.cpuUsage();
  for (let batch = 0; batch < BATCHES; batch++) {
    const at = from + batch * BATCH;
    await write(Array.from({ length: BATCH }, (_, i) => outcome(at + i)));
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / (BATCHES * BATCH);
}

const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));
const places = ['plain', 'chained', 'audit'].map((name) => mkdtempSync(join(folder, name)));
const [plain = '', chained = '', whole = ''] = places;
const chain = new Chain({ seq: 1, hash: GENESIS, unsigned: 0 }, systemClock, null, NATIVE);
const audit = await Audit.open({
  folder: whole,
  ...AUDIT_DEFAULTS,
  clock: systemClock,
  onKept: () => {},
  program: { client_name: '', app_version: '', hostname: '', os: '', username: '' },
  onTrouble: () => {},
});
const writers: Record<string, Writer> = {
  'without chain': await linesTo(plain, unchained()),
  'with chain': await linesTo(chained, (body) => chain.add(body)),
  'Audit.record': (batch) => audit.record(batch),
};
const costs = new Map(Object.keys(writers).map((name): [string, number[]] => [name, []]));
for (let round = 0; round < ROUNDS + DISCARDED; round++) {
  for (const [name, write] of Object.entries(writers)) {
    const us = await roundOf(write, round * BATCHES * BATCH);
    if (round >= DISCARDED) costs.get(name)?.push(us);
  }
}
await audit.close();
rmSync(folder, { recursive: true });

const medians = [...costs].map(([name, all]): [string, number] => [
  name,
  all.sort((a, b) => a - b)[all.length >> 1] ?? 0,
]);
const base = medians[0]?.[1] ?? 1;
process.stdout.write(
  table(
    ['audit', 'CPU us', 'lines/s', 'ratio'],
    medians.map(([name, us]) => [
      name,
      us.toFixed(2),
      (1e6 / us).toFixed(0),
      (us / base).toFixed(2),
    ]),
  ),
);
const extra = (medians[1]?.[1] ?? 0) - base;
const met = extra <= CHAIN_US_MAX && extra <= base / 2;
process.stdout.write(
  `audit  chain ${extra.toFixed(2)} us a record  budget ${CHAIN_US_MAX} us, ratio 1.5: ${met ? 'met' : 'missed'}\n`,
);
