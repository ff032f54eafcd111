// The real program in folders of its own: every call is a process, the daemon is one too, and all
// is gone when the test ends.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

export type Ran = { readonly code: number | null; readonly out: string; readonly err: string };

export type Cli = {
  readonly env: Record<string, string>;
  readonly folder: string;
  /** Runs `sallyport ARGS`. */
  run(...args: string[]): Promise<Ran>;
  /** Runs `sbx ARGS` and fails the test unless it exits with 0. */
  ok(...args: string[]): Promise<string>;
  /** Runs `sbx ARGS` with this on stdin. */
  pipe(input: string, ...args: string[]): Promise<Ran>;
  /** Starts the daemon in the background. @returns the proxy's port. */
  start(...args: string[]): Promise<number>;
};

const BIN = join(import.meta.dirname, '../../bin');
/** Compiled code that all processes of all tests share: half of what a command costs is compiling. */
const COMPILED = join(import.meta.dirname, '../../build/compile-cache');

/** An instance of the product, isolated by its XDG folders. @param more  variables beside those */
export function isolatedCli(t: Test, more: Record<string, string> = {}): Cli {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-test-'));
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: folder,
    XDG_STATE_HOME: join(folder, 'state'),
    XDG_CONFIG_HOME: join(folder, 'config'),
    XDG_RUNTIME_DIR: join(folder, 'run'),
    NODE_COMPILE_CACHE: COMPILED,
    ...more,
  };
  const run = (...args: string[]): Promise<Ran> =>
    execute(process.execPath, [join(BIN, 'sallyport.js'), ...args], env);
  const ok = async (...args: string[]): Promise<string> => {
    const ran = await execute(process.execPath, [join(BIN, 'sbx.js'), ...args], env);
    t.equal(ran.code, 0, `sbx ${args.join(' ')}: ${ran.err}`);
    return ran.out;
  };
  const pipe = (input: string, ...args: string[]): Promise<Ran> =>
    execute(process.execPath, [join(BIN, 'sbx.js'), ...args], env, undefined, input);
  t.teardown(async () => {
    await run('daemon', 'stop', '--drain-timeout', '0s');
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    env,
    folder,
    run,
    ok,
    pipe,
    start: async (...args) => {
      // Keys of tests stay out of the keychain of whoever runs them.
      const ours = ['--listen', '127.0.0.1:0', '--key-store', 'file'];
      const ran = await run('daemon', 'start', '-d', ...ours, ...args);
      if (ran.code !== 0) throw new Error(`daemon start: ${ran.err}`);
      const status = JSON.parse((await run('daemon', 'status', '--json')).out);
      return Number(status.listen.split(':').at(-1));
    },
  };
}

/** Runs a program to its end without a terminal. */
export function execute(
  command: string,
  args: readonly string[],
  env: Record<string, string>,
  cwd?: string,
  input?: string,
): Promise<Ran> {
  const { promise, resolve, reject } = Promise.withResolvers<Ran>();
  const child = spawn(command, args, { env, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.on('error', () => {}); // It may not read at all.
  child.stdin.end(input);
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  child.on('error', reject);
  child.on('close', (code) => resolve({ code, out, err }));
  return promise;
}
