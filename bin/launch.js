// Runs the CLI on a Node that can: this one if it is new enough, else the one that came through npm.
// Plain JavaScript that old Nodes parse. From a checkout it also builds the matcher when it is missing.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
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
  if (checkout) buildMatcher();
  quiet();
  const main = checkout ? join(root, 'src/cli/main.ts') : join(root, 'dist/src/cli/main.js');
  import(pathToFileURL(main).href).catch((error) => fail(String(error && error.stack)));
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
      child.kill(signal);
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
    const node = join(dirname(path), 'bin', 'node');
    return existsSync(node) ? node : null;
  } catch {
    return null;
  }
}

function buildMatcher() {
  if (existsSync(join(root, 'build/matcher.wasm'))) return;
  const asc = join(root, 'node_modules/assemblyscript/bin/asc.js');
  if (!existsSync(asc)) {
    fail('The matcher is not built and its compiler is not installed. Run: npm ci');
    process.exit();
  }
  process.stderr.write('Building the matcher (once)...\n');
  const args = [asc, '--config', 'asconfig.json', '--target', 'release'];
  const built = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (built.status !== 0) {
    fail('The matcher could not be built. Run: npm run build:wasm');
    process.exit();
  }
}

/** SQLite and type stripping are settled for us; their warnings would stand before every answer. */
function quiet() {
  const warn = process.emitWarning;
  process.emitWarning = (warning, ...rest) => {
    const type = typeof rest[0] === 'object' && rest[0] !== null ? rest[0].type : rest[0];
    if (type !== 'ExperimentalWarning') warn.call(process, warning, ...rest);
  };
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
}
