// Runs the CLI on a Node that can: this one if it is new enough, else the one that came through npm.
// Plain JavaScript that old Nodes parse. From a checkout it also builds the matcher when it is
// missing or older than its source.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const NODE_MAJOR_MIN = 24;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
// Node strips no types below node_modules, so an installed package runs its emitted JavaScript.
const checkout = existsSync(join(root, 'src')) && !/[\\/]node_modules[\\/]/.test(root);

/** @param {'sallyport' | 'sbx'} name  what the program calls itself. */
export function launch(name) {
  process.env.SALLYPORT_PROGRAM = name;
  const major = Number(process.versions.node.split('.')[0]);
  if (major < NODE_MAJOR_MIN) return relaunch(name);
  if (checkout && !isMatcherBuilt() && !buildMatcher()) return undefined;
  quiet();
  keepCompiled();
  const main = checkout ? join(root, 'src/cli/main.ts') : join(root, 'dist/src/cli/main.js');
  return import(pathToFileURL(main).href).catch((error) => fail(explain(error)));
}

/**
 * Keeps what V8 compiled for the next command, which then starts in a third of the time. The folder is
 * of this user alone: what lies in it is run. NODE_COMPILE_CACHE names another one, or Node is told
 * NODE_DISABLE_COMPILE_CACHE.
 */
function keepCompiled() {
  if (process.platform === 'win32' || process.env.NODE_COMPILE_CACHE !== undefined) return;
  try {
    const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'sallyport');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(folder);
    if (uid === process.getuid() && (mode & 0o022) === 0) module.enableCompileCache(folder);
  } catch {
    // No home, or a disk that is full or read-only: it starts as fast as it does.
  }
}

/** Starts over on the Node of the optional package; signals and the exit code pass through. */
function relaunch(name) {
  const node = bundledNode();
  if (node === null) {
    fail(`${name} needs Node ${NODE_MAJOR_MIN} or newer; this is ${process.version}. Install it, or run npm install without --omit=optional.`);
    return;
  }
  const child = spawn(node, process.argv.slice(1), { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // A terminal has sent Ctrl-C to the child already; sent on, it would count as a second one.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('error', (error) => fail(String(error)));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code === null ? 1 : code);
    for (const other of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(other);
    process.kill(process.pid, signal);
  });
}

function bundledNode() {
  try {
    const path = createRequire(import.meta.url).resolve(
      `node-${process.platform}-${process.arch}/package.json`,
    );
    const node = join(dirname(path), 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
    return existsSync(node) ? node : null;
  } catch {
    return null;
  }
}

/** A matcher older than its source could read an image in another layout than the one written. */
function isMatcherBuilt() {
  const wasm = join(root, 'build/matcher.wasm');
  if (!existsSync(wasm)) return false;
  const builtMs = statSync(wasm).mtimeMs;
  const folder = join(root, 'assembly');
  const sources = readdirSync(folder).filter((file) => file.endsWith('.ts'));
  return sources.every((file) => statSync(join(folder, file)).mtimeMs <= builtMs);
}

/** Whole or not at all: another command may read it, or build it, at the same time. */
function buildMatcher() {
  const asc = join(root, 'node_modules/assemblyscript/bin/asc.js');
  if (!existsSync(asc)) {
    fail('The matcher is not built and its compiler is not installed. Run: npm ci');
    return false;
  }
  process.stderr.write('Building the matcher (once)...\n');
  const draft = `build/draft-${process.pid}`;
  const outputs = ['--outFile', `${draft}.wasm`, '--textFile', `${draft}.wat`];
  const built =
    run([asc, '--config', 'asconfig.json', '--target', 'release', ...outputs]) &&
    run(['scripts/check-wasm.ts', draft]);
  for (const kind of ['wat', 'wasm']) {
    if (built) renameSync(join(root, `${draft}.${kind}`), join(root, `build/matcher.${kind}`));
    else rmSync(join(root, `${draft}.${kind}`), { force: true });
  }
  if (!built) fail('The matcher could not be built. Run: npm run build:wasm');
  return built;
}

function run(args) {
  const { status } = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return status === 0;
}

/** SQLite and type stripping are settled for us; their warnings would stand before every answer. */
function quiet() {
  const warn = process.emitWarning;
  process.emitWarning = (warning, ...rest) => {
    const type = typeof rest[0] === 'object' && rest[0] !== null ? rest[0].type : rest[0];
    if (type !== 'ExperimentalWarning') warn.call(process, warning, ...rest);
  };
}

function explain(error) {
  if (checkout && error && error.code === 'ERR_MODULE_NOT_FOUND') {
    return `${error.message}\nThe dependencies are not installed. Run: npm ci`;
  }
  return String((error && error.stack) || error);
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
}
