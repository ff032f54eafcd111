// Question   What does the proxy cost per request, per connection and per gigabyte, beside others?
// Budget     plain HTTP keep-alive 0.75 of squid's CPU, CONNECT per connection 1.0, bulk 0.8.
// Method     Every proxy runs at the same time, one worker each, and takes turns under the same load
//            against the same origin, in rounds; load and origin are processes of their own. CPU is
//            the kernel's account of the proxy's processes over the turn. One warm-up turn each.
// Read as    CPU per operation, and the ratio to each peer in this run. Wall figures (rate, latency)
//            are noise on a shared machine. haproxy is a floor: it decides and records nothing.
// Run        npm run bench -- proxies [--seconds N] [--smoke]
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Load } from './load.ts';
import { haproxyHttp, haproxyTcp } from './peers/haproxy.ts';
import type { Peer, Ports, Running } from './peers/peer.ts';
import { proxyChain } from './peers/proxy-chain.ts';
import { sallyport } from './peers/sallyport.ts';
import { squid } from './peers/squid.ts';
import { tinyproxy } from './peers/tinyproxy.ts';
import { cpuUs, firstLine, memoryKb, start, stop } from './process.ts';
import { table } from './table.ts';

const smoke = process.argv.includes('--smoke');
const secondsAt = process.argv.indexOf('--seconds');
const SECONDS = smoke ? 0.1 : Number(secondsAt < 0 ? 3 : process.argv[secondsAt + 1]);
const ROUNDS = smoke ? 1 : 3;
const CONNECTIONS = smoke ? [4] : [1, 32, 256];

const PEERS: readonly Peer[] = [sallyport, squid, tinyproxy, proxyChain, haproxyHttp, haproxyTcp];

type Work = {
  readonly name: string;
  readonly kind: 'http' | 'connect' | 'down' | 'up';
  readonly connections: number;
  readonly takers: readonly Peer['takes'][];
  /** Of squid's CPU. */
  readonly budget: number;
};

const WORKS: readonly Work[] = [
  ...CONNECTIONS.map((connections): Work => {
    return {
      name: `http keep-alive x${connections}`,
      kind: 'http',
      connections,
      takers: ['proxy', 'http-direct'],
      budget: 0.75,
    };
  }),
  ...CONNECTIONS.map((connections): Work => {
    return {
      name: `connect x${connections}`,
      kind: 'connect',
      connections,
      takers: ['proxy'],
      budget: 1,
    };
  }),
  {
    name: 'bulk down',
    kind: 'down',
    connections: 1,
    takers: ['proxy', 'bulk-direct'],
    budget: 0.8,
  },
  { name: 'bulk up', kind: 'up', connections: 1, takers: ['proxy', 'bulk-direct'], budget: 0.8 },
];

type Turn = { readonly cpu: number; readonly rate: number; readonly load: Load };

async function turn(
  work: Work,
  peer: Peer,
  running: Running,
  origin: Ports,
  seconds: number,
): Promise<Turn> {
  const before = cpuUs(running.pid);
  const bulk = work.kind === 'down' || work.kind === 'up';
  const mode = peer.takes === 'proxy' ? 'proxy' : 'direct';
  const originPort = bulk ? origin.bulk : origin.small;
  const words = [work.kind, running.port, originPort, work.connections, seconds, mode].map(String);
  const child = start(process.execPath, [join(import.meta.dirname, 'load.ts'), ...words]);
  const exited = once(child, 'exit');
  const load = await firstLine<Load>(child);
  await exited;
  const spent = cpuUs(running.pid) - before;
  if (load.operations === 0) throw new Error(`${peer.name}: ${work.name}: nothing came through`);
  const gigabytes = load.bytes / 1e9;
  return {
    cpu: bulk ? spent / 1000 / gigabytes : spent / load.operations,
    rate: bulk ? gigabytes / load.seconds : load.operations / load.seconds,
    load,
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function main(folder: string): Promise<void> {
  const originProcess = start(process.execPath, [join(import.meta.dirname, 'origin.ts')]);
  const origin = await firstLine<Ports>(originProcess);
  const runnings = new Map<Peer, Running>();
  for (const peer of PEERS) {
    const missing = peer.missing();
    if (missing === null) runnings.set(peer, await peer.start(folder, origin));
    else process.stdout.write(`${peer.name} is not here and is left out (${missing})\n`);
  }
  const rows: string[][] = [];
  for (const work of WORKS) {
    process.stderr.write(`${work.name}...\n`);
    rows.push(...(await measure(work, runnings, origin)));
  }
  const headings = [
    'work',
    'proxy',
    'cpu',
    'rate',
    'p50 us',
    'p99 us',
    'peak MiB',
    'sallyport / it',
    'budget',
  ];
  process.stdout.write(
    `\n${table(headings, rows)}\ncpu: us per operation, for bulk ms per GB. rate: operations, for bulk GB, per second.\n`,
  );
  for (const running of runnings.values()) await running.stop();
  await stop(originProcess);
}

async function measure(
  work: Work,
  runnings: Map<Peer, Running>,
  origin: Ports,
): Promise<string[][]> {
  const takers = [...runnings].filter(([peer]) => work.takers.includes(peer.takes));
  const turns = new Map<Peer, Turn[]>(takers.map(([peer]) => [peer, []]));
  for (const [peer, running] of takers) await turn(work, peer, running, origin, SECONDS / 2);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [peer, running] of takers) {
      turns.get(peer)?.push(await turn(work, peer, running, origin, SECONDS));
    }
  }
  const ours = median((turns.get(sallyport) ?? []).map(({ cpu }) => cpu));
  return takers.map(([peer, running]) => row(work, peer, running, turns.get(peer) ?? [], ours));
}

function row(
  work: Work,
  peer: Peer,
  { pid }: Running,
  turns: readonly Turn[],
  ours: number,
): string[] {
  const cpu = median(turns.map((one) => one.cpu));
  const decimals = work.kind === 'down' || work.kind === 'up' ? 2 : 0;
  return [
    work.name,
    peer.name,
    cpu.toFixed(1),
    median(turns.map(({ rate }) => rate)).toFixed(decimals),
    median(turns.map(({ load }) => load.p50Us)).toFixed(0),
    median(turns.map(({ load }) => load.p99Us)).toFixed(0),
    (memoryKb(pid, 'VmHWM') / 1024).toFixed(0),
    peer === sallyport ? '' : (ours / cpu).toFixed(2),
    remark(work, peer, turns, ours / cpu),
  ];
}

function remark({ budget }: Work, peer: Peer, turns: readonly Turn[], ratio: number): string {
  const errors = turns.reduce((sum, { load }) => sum + load.errors, 0);
  if (errors > 0) return `${errors} errors`;
  return peer === squid ? `${budget} ${ratio <= budget ? 'met' : 'missed'}` : '';
}

const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));
try {
  await main(folder);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
