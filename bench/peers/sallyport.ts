// Ourselves: the real daemon with the balanced preset, audit and log, and one worker thread.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { accepting, start, stop } from '../process.ts';
import { PLACEHOLDER, SECRET } from '../tls-credential.ts';
import { freePort, type Peer, type Running, type TlsPeer } from './peer.ts';

const LAUNCHER = join(import.meta.dirname, '../../bin/sallyport.js');

export type Daemon = Running & {
  readonly env: Readonly<Record<string, string>>;
  /** Runs a command of the CLI against this daemon. @returns what it printed. */
  run(...args: string[]): string;
};

/** Starts a daemon whose state is below `folder`. */
export async function startSallyport(
  folder: string,
  allowed: string,
  workers = 1,
  more: readonly string[] = [],
): Promise<Daemon> {
  mkdirSync(folder, { recursive: true });
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: folder,
    XDG_STATE_HOME: join(folder, 'state'),
    XDG_CONFIG_HOME: join(folder, 'config'),
    XDG_RUNTIME_DIR: join(folder, 'run'),
  };
  const port = await freePort();
  const options = [
    '--policy',
    'balanced',
    '--default-sandbox',
    'bench',
    '--workers',
    String(workers),
    ...more,
  ];
  const child = start(
    process.execPath,
    [LAUNCHER, 'daemon', 'start', '--listen', `127.0.0.1:${port}`, ...options],
    {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  await accepting(port, child);
  const run = (...args: string[]): string =>
    execFileSync(process.execPath, [LAUNCHER, ...args], { env, encoding: 'utf8' });
  run('policy', 'allow', 'network', allowed);
  return { port, pid: child.pid ?? 0, env, run, stop: () => stop(child) };
}

export const sallyport: Peer = {
  name: 'sallyport',
  takes: 'proxy',
  missing: () => null,
  start: (folder, { small, bulk }) =>
    startSallyport(join(folder, 'sallyport'), `127.0.0.1:${small},127.0.0.1:${bulk}`),
};

/** With a credential bound to the origin, since that is what makes it intercept. */
export const sallyportTls: TlsPeer = {
  name: 'sallyport',
  http2: true,
  missing: () => null,
  start: async (folder, { port, authorityFile }) => {
    const trust = ['--upstream-ca', authorityFile];
    const daemon = await startSallyport(join(folder, 'tls'), `localhost:${port}`, 1, trust);
    const words = ['--host', `localhost:${port}`, '--env', 'BENCH_TOKEN'];
    const command = ['secret', 'set-custom', ...words, '--placeholder', PLACEHOLDER];
    execFileSync(process.execPath, [LAUNCHER, ...command], { env: daemon.env, input: SECRET });
    return daemon;
  },
};
