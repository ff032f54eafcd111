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
import { ControlClient } from '../control/client.ts';
import { waitUntilStopped } from '../control/spawn.ts';
import { type Context, createContext, startDetached, withDaemon } from './context.ts';
import { STOP_WAIT_MS } from './daemon.ts';

const BLOCKED_HOST = 'blocked.example.com';
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

async function demo(outer: Context, { keep }: Options): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-demo-'));
  const env = {
    ...outer.env,
    XDG_STATE_HOME: join(folder, 'state'),
    XDG_CONFIG_HOME: join(folder, 'config'),
    XDG_RUNTIME_DIR: join(folder, 'run'),
  };
  const context = createContext({ ...outer, env });
  const origin = await startOrigin();
  const { promise: signalled, reject } = Promise.withResolvers<never>();
  const interrupt = (): void =>
    reject(new SallyportError('SALLYPORT_CANCELLED', 'interrupted; everything was cleaned up'));
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    await Promise.race([show(context, origin.port), signalled]);
    outer.out(keep ? keptText(folder, context) : NEXT);
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    origin.close();
    if (!keep) await stopDaemon(context, folder);
  }
}

async function show(context: Context, originPort: number): Promise<void> {
  const say = (text: string): void => context.out(`${text}\n`);
  const started = await startDetached(context, [
    ...['--policy', 'balanced', '--listen', '127.0.0.1:0'],
    ...['--default-sandbox', 'demo', '--workers', '2'],
  ]);
  if (started === null) throw failed('another daemon runs in the folder of this demo');
  const port = Number(started.listen.split(':').at(-1));
  say(
    `1. The proxy runs on ${started.listen}: ${started.workers} workers, the balanced preset, an embedded store.`,
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
  expect(await ask(port, `http://${allowed}/`), 200, say, `http://${allowed}/`);

  await showLog(context, say);
}

async function showLog(context: Context, say: (text: string) => void): Promise<void> {
  await withDaemon(context, async (client) => {
    const log = await settled(client);
    say('\n4. $ sbx policy log');
    for (const [verdict, rows] of [
      ['blocked', log.blocked_hosts],
      ['allowed', log.allowed_hosts],
    ] as const) {
      for (const { host, rule, count_since } of rows)
        say(`   ${verdict}  ${host}  x${count_since}  ${rule}`);
    }
  });
  const records = await until(() => auditRecords(context.paths.audit), 'the audit file');
  say(`\n5. The audit, exactly one record an exchange: ${records.length} so far. The last:`);
  say(indent(records.at(-1) ?? ''));
}

function auditRecords(folder: string): string[] | null {
  const [file] = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
  if (file === undefined) return null;
  const records = readFileSync(join(folder, file), 'utf8').trimEnd().split('\n');
  return records.length < REQUESTS ? null : records;
}

type Row = { readonly host: string; readonly rule: string; readonly count_since: number };
type Log = { readonly blocked_hosts: readonly Row[]; readonly allowed_hosts: readonly Row[] };

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
  const server = createServer((_, response) => response.end('hello from the origin\n'));
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

async function stopDaemon(context: Context, folder: string): Promise<void> {
  const client = new ControlClient(context.paths.socket);
  await client.post('/daemon/stop', { drain_timeout_ms: 1_000 }).catch(() => {}); // It may never have started.
  await client.close();
  waitUntilStopped(context.paths, STOP_WAIT_MS);
  rmSync(folder, { recursive: true, force: true });
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `     ${line}`)
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
