// Question   What does interception cost per request, per connection, per new host and at rest?
// Budget     of squid's CPU in the same run: requests 0.75, new connections 0.9, resumed ones 0.6;
//            HTTP/2 0.75 of our own HTTP/1.1; a leaf for a new host 0.5 ms.
// Method     Every proxy runs at the same time, one worker each, and takes turns under the same load
//            (tls-load.ts) against the same origin (tls-origin.ts), in rounds. CPU is the kernel's account
//            of the proxy's processes while requests run; opening connections that are kept is not
//            counted. All speak TLS 1.3 with X25519 and verify the origin. squid runs twice, with an
//            authority on RSA-2048 and one on P-256; the cheaper one of each row is the peer. Memory is
//            taken of proxies started for it alone.
// Read as    CPU per operation, and the ratio to each peer in this run. Sallyport judges each request,
//            swaps a credential into it and writes an audit record of it; squid only forwards.
// Run        npm run bench -- tls [--seconds N] [--smoke]
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../src/base/clock.ts';
import { createAuthority } from '../src/tls/authority.ts';
import { ServerContexts } from '../src/tls/contexts.ts';
import { LeafMinter } from '../src/tls/leaf.ts';
import { mitmproxy } from './peers/mitmproxy.ts';
import { mockttp } from './peers/mockttp.ts';
import type { Running, TlsOrigin, TlsPeer } from './peers/peer.ts';
import { sallyportTls } from './peers/sallyport.ts';
import { squidEc, squidRsa } from './peers/squid-bump.ts';
import { firstLine, start, stop } from './process.ts';
import { table } from './table.ts';
import { benchAuthority } from './tls-authority.ts';
import type { TlsLoad } from './tls-load.ts';

const smoke = process.argv.includes('--smoke');
const secondsAt = process.argv.indexOf('--seconds');
const SECONDS = smoke ? 0.2 : Number(secondsAt < 0 ? 2 : process.argv[secondsAt + 1]);
const ROUNDS = smoke ? 1 : 3;
const IDLE = smoke ? 50 : 1_000;
const HOSTS = smoke ? 20 : 2_000;
const LEAF_MS_MAX = 0.5;

const PEERS: readonly TlsPeer[] = [sallyportTls, squidEc, squidRsa, mitmproxy, mockttp];
const SQUIDS: readonly TlsPeer[] = [squidEc, squidRsa];

type Work = {
  readonly name: string;
  readonly kind: 'keepalive' | 'full' | 'resumed' | 'h2' | 'grpc';
  readonly width: number;
  /** Of squid's CPU; for HTTP/2 of our own HTTP/1.1. */
  readonly budget?: number;
};

const WORKS: readonly Work[] = [
  { name: 'keep-alive x32', kind: 'keepalive', width: 32, budget: 0.75 },
  { name: 'full handshake x8', kind: 'full', width: 8, budget: 0.9 },
  { name: 'resumed x8', kind: 'resumed', width: 8, budget: 0.6 },
  { name: 'h2, 1 stream', kind: 'h2', width: 1, budget: 0.75 },
  { name: 'h2, 10 streams', kind: 'h2', width: 10, budget: 0.75 },
  { name: 'h2, 100 streams', kind: 'h2', width: 100, budget: 0.75 },
  { name: 'grpc unary x10', kind: 'grpc', width: 10 },
];

type Origin = TlsOrigin & { stop(): Promise<void> };
type Measured = { readonly peer: TlsPeer; readonly cpu: number; readonly loads: TlsLoad[] };

async function startOrigin(folder: string): Promise<Origin> {
  const authority = benchAuthority('Bench origin', 'ec');
  const { keyPem, certificatePem } = new LeafMinter(authority).mint('localhost', Date.now());
  const files = ['key', 'certificate', 'authority'].map((name) => join(folder, `${name}.pem`));
  const [keyFile = '', certificateFile = '', authorityFile = ''] = files;
  writeFileSync(keyFile, keyPem);
  writeFileSync(certificateFile, certificatePem);
  writeFileSync(authorityFile, authority.certificatePem);
  const program = join(import.meta.dirname, 'tls-origin.ts');
  const child = start(process.execPath, [program, keyFile, certificateFile]);
  const { port } = await firstLine<{ port: number }>(child);
  return { port, authorityFile, stop: () => stop(child) };
}

/** @throws when what came through is not what the row is called */
async function turn(
  kind: string,
  width: number,
  seconds: number,
  { peer, running, origin }: { peer: TlsPeer; running: Running; origin: Origin },
): Promise<TlsLoad> {
  const words = [kind, running.port, origin.port, width, seconds, running.pid].map(String);
  const child = start(process.execPath, [join(import.meta.dirname, 'tls-load.ts'), ...words]);
  const exited = once(child, 'exit');
  const load = await firstLine<TlsLoad>(child);
  await exited;
  const { operations, credentialed, resumed } = load;
  const fault = (what: string): Error => new Error(`${peer.name}: ${kind}: ${what}`);
  if (operations === 0) throw fault('nothing came through');
  if (peer === sallyportTls && credentialed < operations)
    throw fault(`${operations - credentialed} of ${operations} without the credential`);
  if (kind === 'full' && resumed > 0) throw fault('sessions were resumed');
  return load;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function measure(
  { kind, width }: Work,
  runnings: ReadonlyMap<TlsPeer, Running>,
  origin: Origin,
): Promise<Measured[]> {
  const takers = [...runnings].filter(([peer]) => peer.http2 || (kind !== 'h2' && kind !== 'grpc'));
  const loads = new Map<TlsPeer, TlsLoad[]>(takers.map(([peer]) => [peer, []]));
  for (let round = -1; round < ROUNDS; round++) {
    for (const [peer, running] of takers) {
      const warmUp = round < 0;
      const load = await turn(kind, width, warmUp ? SECONDS / 2 : SECONDS, {
        peer,
        running,
        origin,
      });
      if (!warmUp) loads.get(peer)?.push(load);
    }
  }
  return [...loads].map(([peer, all]) => {
    return { peer, loads: all, cpu: median(all.map((one) => one.cpuUs / one.operations)) };
  });
}

/** What the budget of a row compares with: the cheaper squid, or our own HTTP/1.1. */
function referenceOf({ kind }: Work, measured: readonly Measured[], ownHttp1: number): number {
  if (kind === 'h2') return ownHttp1;
  return Math.min(...measured.flatMap(({ peer, cpu }) => (SQUIDS.includes(peer) ? [cpu] : [])));
}

function rowsOf(work: Work, measured: readonly Measured[], ownHttp1: number): string[][] {
  const ours = measured.find(({ peer }) => peer === sallyportTls)?.cpu ?? Number.NaN;
  const reference = referenceOf(work, measured, ownHttp1);
  return measured.map(({ peer, cpu, loads }) => {
    const operations = sum(loads, 'operations');
    return [
      work.name,
      peer.name,
      cpu.toFixed(0),
      (operations / sum(loads, 'seconds')).toFixed(0),
      median(loads.map((one) => one.p50Us)).toFixed(0),
      median(loads.map((one) => one.p99Us)).toFixed(0),
      peer === sallyportTls ? '' : (ours / cpu).toFixed(2),
      [
        ...(peer === sallyportTls ? [verdict(work, cpu / reference)] : []),
        ...(work.kind === 'resumed' ? [resumption(sum(loads, 'resumed') / operations)] : []),
        ...(sum(loads, 'errors') > 0 ? [`${sum(loads, 'errors')} errors`] : []),
      ].join(' '),
    ];
  });
}

function verdict({ kind, budget }: Work, ratio: number): string {
  if (budget === undefined || !Number.isFinite(ratio)) return '';
  const of = kind === 'h2' ? 'of http/1.1' : 'of squid';
  return `${ratio.toFixed(2)} ${of}, budget ${budget} ${ratio <= budget ? 'met' : 'missed'}`;
}

function resumption(share: number): string {
  return share > 0.9 ? 'resumed' : `only ${(share * 100).toFixed(0)}% resumed`;
}

function sum(loads: readonly TlsLoad[], what: 'operations' | 'seconds' | 'errors' | 'resumed') {
  return loads.reduce((total, load) => total + load[what], 0);
}

/** One context per host that is new to the worker: the key is there, the certificate is not. */
function leaves(): string {
  const nowMs = Date.now();
  const authority = createAuthority({ name: 'Bench', nowMs });
  const ticketKeys = Buffer.alloc(48);
  const contexts = new ServerContexts({ authority, ticketKeys, clock: systemClock, max: HOSTS });
  for (let i = 0; i < HOSTS / 4; i++) contexts.contextFor(`warm-${i}.bench.example`);
  const before = process.cpuUsage();
  for (let i = 0; i < HOSTS; i++) contexts.contextFor(`host-${i}.bench.example`);
  const { user, system } = process.cpuUsage(before);
  const eachMs = (user + system) / 1000 / HOSTS;
  const met = eachMs <= LEAF_MS_MAX ? 'met' : 'missed';
  return `leaf and context of a new host: ${eachMs.toFixed(3)} ms CPU, budget ${LEAF_MS_MAX} ${met}\n`;
}

async function memory(folder: string, origin: Origin): Promise<string> {
  const rows: string[][] = [];
  for (const peer of PEERS.filter((one) => one.missing() === null)) {
    const own = join(folder, `idle-${peer.name}`);
    mkdirSync(own);
    const running = await peer.start(own, origin);
    const { grownKb, errors } = await turn('idle', IDLE, 0, { peer, running, origin });
    const remark = errors > 0 ? `${errors} errors` : '';
    rows.push([peer.name, String(IDLE), (grownKb / IDLE).toFixed(1), remark]);
    await running.stop();
  }
  return table(['proxy', 'idle connections', 'KiB each', ''], rows);
}

async function main(folder: string): Promise<void> {
  const origin = await startOrigin(folder);
  process.stdout.write(leaves());
  const runnings = new Map<TlsPeer, Running>();
  for (const peer of PEERS) {
    const missing = peer.missing();
    if (missing === null) runnings.set(peer, await peer.start(folder, origin));
    else process.stdout.write(`${peer.name} is not here and is left out (${missing})\n`);
  }
  const rows: string[][] = [];
  let ownHttp1 = Number.NaN;
  for (const work of WORKS) {
    process.stderr.write(`${work.name}...\n`);
    const measured = await measure(work, runnings, origin);
    if (work.kind === 'keepalive')
      ownHttp1 = measured.find(({ peer }) => peer === sallyportTls)?.cpu ?? Number.NaN;
    rows.push(...rowsOf(work, measured, ownHttp1));
  }
  const headings = ['work', 'proxy', 'cpu', 'rate', 'p50 us', 'p99 us', 'sallyport / it', 'budget'];
  process.stdout.write(`\n${table(headings, rows)}\ncpu: us per operation.\n`);
  for (const running of runnings.values()) await running.stop();
  process.stderr.write('idle connections...\n');
  process.stdout.write(`\n${await memory(folder, origin)}`);
  await origin.stop();
}

const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));
try {
  await main(folder);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
