// bin/: the same program under two names, on a Node that can run it, from a checkout or a package.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { execute, isolatedCli } from '../helpers/cli.ts';
import { temporaryFolder } from '../helpers/control.ts';

const ROOT = join(import.meta.dirname, '../..');
const OLD = 'v20.1.0';
// Makes a new Node say that it is an old one; the process that it starts over in says the truth.
const AS_OLD = [
  '--import',
  `data:text/javascript,${encodeURIComponent(
    `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.1.0' } });
     Object.defineProperty(process, 'version', { value: '${OLD}' });`,
  )}`,
];

const bundled = ((): boolean => {
  try {
    createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/package.json`);
    return true;
  } catch {
    return false;
  }
})();

/** A checkout without what is built, and without dependencies unless linked. */
function checkout(t: Test, dependencies: boolean): string {
  const folder = temporaryFolder(t);
  for (const name of ['assembly', 'asconfig.json', 'bin', 'package.json', 'scripts', 'src']) {
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  }
  mkdirSync(join(folder, 'build'));
  if (dependencies) symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

t.test('both names, one program', async (t) => {
  const { env } = isolatedCli(t);
  for (const name of ['sallyport', 'sbx']) {
    const ran = await execute(process.execPath, [join(ROOT, 'bin', `${name}.js`), '--help'], env);
    t.match(ran.out, `Usage: ${name} `);
    t.equal(ran.err, '', 'no warnings stand before the answer');
  }
});

t.test('what was compiled is kept where nobody else can write', async (t) => {
  const { env } = isolatedCli(t);
  const { NODE_COMPILE_CACHE: _, ...plain } = env;
  const version = async (cache: string): Promise<string[]> => {
    const folder = join(cache, 'sallyport');
    const own = { ...plain, XDG_CACHE_HOME: cache };
    const ran = await execute(process.execPath, [join(ROOT, 'bin/sbx.js'), '--version'], own);
    t.equal(ran.code, 0, ran.err);
    return readdirSync(folder);
  };
  const cache = temporaryFolder(t);
  t.not((await version(cache)).length, 0);
  t.equal(statSync(join(cache, 'sallyport')).mode & 0o777, 0o700);
  const open = temporaryFolder(t);
  mkdirSync(join(open, 'sallyport'));
  chmodSync(join(open, 'sallyport'), 0o777);
  t.strictSame(await version(open), [], 'what others may have put there is not run');
});

t.test('an old Node starts over on the one from npm', async (t) => {
  const { env } = isolatedCli(t);
  const old = (...args: string[]): string[] => [...AS_OLD, join(ROOT, 'bin/sbx.js'), ...args];
  const version = await execute(process.execPath, old('--version'), env);
  if (!bundled) return t.match(version.err, 'needs Node 24 or newer'); // Not on this platform.
  t.match(version.out, /^\d+\.\d+\.\d+\n$/, version.err);
  const failing = await execute(process.execPath, old('policy', 'ls', '--nope'), env);
  t.equal(failing.code, 1, 'the exit code passes through');
  const denied = await execute(process.execPath, old('policy', 'check', 'network', 'a b'), env);
  t.equal(denied.code, 2);

  const daemon = spawn(process.execPath, old('daemon', 'start', '--listen', '127.0.0.1:0'), {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const text of daemon.stdout) if (String(text).includes('Daemon is running')) break;
  const exit = once(daemon, 'exit');
  daemon.kill('SIGTERM');
  t.strictSame(await exit, [0, null], 'a signal passes through, and the daemon drains');
});

t.test('an old Node without it says in one line what is missing', async (t) => {
  const folder = checkout(t, false);
  const { env } = isolatedCli(t);
  const ran = await execute(process.execPath, [...AS_OLD, join(folder, 'bin/sbx.js')], env);
  t.equal(ran.code, 1);
  t.match(ran.err, new RegExp(`^sbx needs Node 24 or newer; this is ${OLD}\\..*\\n$`));
});

t.test('a checkout builds its matcher when that is missing or older than its source', async (t) => {
  const folder = checkout(t, true);
  const { env } = isolatedCli(t);
  const run = (): ReturnType<typeof execute> =>
    execute(process.execPath, [join(folder, 'bin/sbx.js'), '--version'], env);
  const [first, second] = await Promise.all([run(), run()]);
  t.strictSame([first.code, second.code], [0, 0], 'two at the same time');
  t.match(first.err + second.err, 'Building the matcher');
  t.strictSame(readdirSync(join(folder, 'build')).sort(), ['matcher.wasm', 'matcher.wat']);
  t.equal((await run()).err, '', 'once');
  const later = Date.now() / 1000 + 60;
  utimesSync(join(folder, 'assembly/index.ts'), later, later);
  t.match((await run()).err, 'Building the matcher');
});

t.test('a checkout without its dependencies names npm ci', async (t) => {
  const folder = checkout(t, false);
  const { env } = isolatedCli(t);
  const run = (): ReturnType<typeof execute> =>
    execute(process.execPath, [join(folder, 'bin/sbx.js'), '--version'], env);
  const unbuilt = await run();
  t.equal(unbuilt.code, 1);
  t.match(unbuilt.err, /Run: npm ci\n$/);
  cpSync(join(ROOT, 'build'), join(folder, 'build'), { recursive: true });
  const later = Date.now() / 1000 + 60;
  utimesSync(join(folder, 'build/matcher.wasm'), later, later);
  const uninstalled = await run();
  t.equal(uninstalled.code, 1);
  t.match(uninstalled.err, /Run: npm ci\n$/);
  t.notOk(existsSync(join(folder, 'node_modules')));
});
