// `demo`: the main job, seen once from end to end without internet. A real daemon in a folder of its
// own, a real origin on loopback, one request that is allowed and one that is denied.
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Command } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { ControlClient } from '../control/api/client.ts';
import type { DaemonStatus } from '../control/api/services.ts';
import { waitUntilStopped } from '../control/spawn.ts';
import { type Context, clientFor, createContext, startDetached, withDaemon } from './context.ts';
import { STOP_WAIT_MS } from './daemon.ts';
import { type Log, logText } from './policy-log.ts';

const BLOCKED_HOST = 'blocked.example.com';
const GREETING = 'hello from the origin';
const REQUESTS = 3;

type Options = { readonly keep?: boolean };
type Answer = { readonly status: number; readonly text: string };

export function addDemoCommand(program: Command, context: Context): void {
  program
    .command('demo')
    .description('see the proxy allow one request and deny another; needs no internet')
    .option('--keep', 'leave the daemon running')
    .action((options: Options) => demo(context, options));
}

async function demo(outer: Context, { keep = false }: Options): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-demo-'));
  const env = {
    ...outer.env,
    XDG_STATE_HOME: join(folder, 'state'),
    XDG_CONFIG_HOME: join(folder, 'config'),
    XDG_RUNTIME_DIR: join(folder, 'run'),
  };
  const interrupted = Promise.withResolvers<number>();
  let out = outer.out;
  const context = createContext({ ...outer, env, out: (text) => out(text) });
  // Held until all is cleaned up: a second Ctrl-C would leave a daemon behind.
  const release = outer.onInterrupt(interrupted.resolve);
  const starting = startDaemon(context);
  const shown = starting.then((started) => show(context, started));
  let kept = false;
  try {
    const exitCode = await Promise.race([shown, interrupted.promise]);
    kept = keep && exitCode === 0;
    if (exitCode !== 0) {
      out = () => {}; // What is under way still fails, unheard.
      outer.err('Interrupted; cleaning up\n');
    }
    outer.exitWith(exitCode);
  } finally {
    await Promise.allSettled([starting]); // What is only starting could not be told to stop.
    if (!kept) await stopDaemon(context);
    await Promise.allSettled([shown]);
    if (!kept) rmSync(folder, { recursive: true, force: true });
    release();
  }
  const exitCode = await Promise.race([interrupted.promise, shown]);
  if (exitCode === 0) outer.out(kept ? keptText(folder, context) : NEXT);
}

async function startDaemon(context: Context): Promise<DaemonStatus> {
  const started = await startDetached(context, [
    ['--policy', 'balanced'],
    ['--listen', '127.0.0.1:0'],
    ['--default-sandbox', 'demo'],
    ['--workers', '2'],
  ]);
  if (started === null) throw failed('another daemon runs in the folder of this demo');
  return started;
}

/** @returns the exit code; a demo that does not go as it should throws */
async function show(context: Context, started: DaemonStatus): Promise<0> {
  const origin = await startOrigin();
  try {
    await showRequests(context, started, origin.port);
    await showRecords(context);
    return 0;
  } finally {
    origin.close();
  }
}

async function showRequests(
  context: Context,
  { listen, workers }: DaemonStatus,
  originPort: number,
): Promise<void> {
  const say = (text: string): void => context.out(`${text}\n`);
  const port = Number(listen.split(':').at(-1));
  say(
    `1. The proxy runs on ${listen}: ${workers} workers, the balanced preset, an embedded store.`,
  );

  const allowed = `localhost:${originPort}`;
  say(`\n2. Two requests from the sandbox "demo", before any rule of yours:`);
  expect(await ask(port, `http://${allowed}/`), 403, say, `http://${allowed}/`);
  const blocked = await ask(port, `http://${BLOCKED_HOST}/`);
  expect(blocked, 403, say, `http://${BLOCKED_HOST}/`);
  say(indent(blocked.text));

  say(`\n3. $ sbx policy allow network ${allowed}`);
  await withDaemon(context, (client) =>
    client.post('/policy/network/rules', { decision: 'allow', resources: allowed }),
  );
  say('   In force in all workers; nothing was restarted. The same request again:');
  const answer = await ask(port, `http://${allowed}/`);
  expect(answer, 200, say, `http://${allowed}/`);
  if (answer.text !== GREETING) throw failed(`the origin answered "${answer.text}"`);
  say(indent(answer.text));
}

async function showRecords(context: Context): Promise<void> {
  const log = await withDaemon(context, settled);
  context.out(`\n4. $ sbx policy log\n${indent(logText(log, false).trimEnd())}\n`);
  const records = await until(() => auditRecords(context.paths.audit), 'the audit file');
  const told = [
    records.find(({ record }) => record.host === BLOCKED_HOST && record.verdict === 'deny'),
    records.find(({ record }) => record.verdict === 'allow' && record.status === 200),
  ].map((found) => {
    if (found === undefined) throw failed('the audit does not tell what happened');
    return indent(found.line);
  });
  context.out(`
5. The audit has exactly one record an exchange: ${records.length} so far. The denied and the allowed one:
${told.join('\n')}
`);
}

type AuditRecord = { readonly host?: string; readonly verdict: string; readonly status: number };
type AuditLine = { readonly line: string; readonly record: AuditRecord };

function auditRecords(folder: string): AuditLine[] | null {
  const [file] = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
  if (file === undefined) return null;
  const lines = readFileSync(join(folder, file), 'utf8').trimEnd().split('\n');
  const exchanges = lines
    .map((line) => ({ line, record: JSON.parse(line) as AuditRecord }))
    .filter(({ record }) => record.host !== undefined); // The daemon's start is on record, too.
  return exchanges.length < REQUESTS ? null : exchanges;
}

async function settled(client: ControlClient): Promise<Log> {
  return until(async () => {
    const log = await client.get<Log>('/network/log');
    const count = [...log.blocked_hosts, ...log.allowed_hosts].reduce(
      (sum, row) => sum + row.count_since,
      0,
    );
    return count < REQUESTS ? null : log;
  }, 'the log');
}

/** Records reach the disk a moment after the answers; looks again until they have. */
async function until<T>(look: () => T | null | Promise<T | null>, where: string): Promise<T> {
  for (let tries = 0; tries < 100; tries++) {
    const found = await look();
    if (found !== null) return found;
    await setTimeout(20);
  }
  throw failed(`${where} does not show the ${REQUESTS} requests`);
}

function expect(
  { status }: Answer,
  wanted: number,
  say: (text: string) => void,
  url: string,
): void {
  if (status !== wanted) throw failed(`${url} was answered with ${status}, not ${wanted}`);
  say(`   GET ${url}  ->  ${status} ${wanted === 200 ? 'allowed' : 'denied'}`);
}

async function ask(port: number, url: string): Promise<Answer> {
  const asked = request({
    host: '127.0.0.1',
    port,
    path: url,
    headers: { host: new URL(url).host },
    agent: false,
  });
  asked.end();
  const [response] = await once(asked, 'response');
  const pieces: Buffer[] = [];
  for await (const piece of response) pieces.push(piece);
  return { status: response.statusCode, text: Buffer.concat(pieces).toString().trimEnd() };
}

async function startOrigin(): Promise<{ port: number; close: () => void }> {
  const server = createServer((_, response) => response.end(`${GREETING}\n`));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function stopDaemon(context: Context): Promise<void> {
  const client = clientFor(context);
  await client.post('/daemon/stop', { drain_timeout_ms: 1_000 }).catch(() => {}); // It may never have started.
  await client.close();
  waitUntilStopped(context.paths, STOP_WAIT_MS);
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '' : `     ${line}`))
    .join('\n');
}

const NEXT = `
That was a daemon in a folder of its own; it is stopped and gone. For your own:
  $ npx sallyport daemon start -d --policy balanced
  $ npx sallyport sandbox add my-sandbox
  $ npx sbx policy allow network example.com
  $ npx sbx policy log --follow
`;

function keptText(folder: string, { env }: Context): string {
  return `
The daemon is still running. To talk to it:
  $ export XDG_STATE_HOME=${env.XDG_STATE_HOME} XDG_CONFIG_HOME=${env.XDG_CONFIG_HOME} XDG_RUNTIME_DIR=${env.XDG_RUNTIME_DIR}
  $ npx sallyport daemon status
  $ npx sallyport daemon stop && rm -r ${folder}
`;
}

function failed(message: string): SallyportError {
  return new SallyportError('SALLYPORT_INTERNAL', `the demo did not go as it should: ${message}`);
}
