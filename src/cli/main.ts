// The entry: takes the process's arguments, environment and streams, runs one command, and turns
// whatever comes out into words and an exit code. Nothing else touches `process` here.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommanderError } from 'commander';
import { SallyportError } from '../base/errors.ts';
import { createContext } from './context.ts';
import { createProgram } from './program.ts';

const EXIT_INTERRUPTED = 130;

async function main(): Promise<void> {
  const root = packageRoot();
  let exitCode = 0;
  const context = createContext({
    program: process.env.SALLYPORT_PROGRAM === 'sbx' ? 'sbx' : 'sallyport',
    version: root.version,
    env: process.env,
    interactive: process.stdin.isTTY === true && process.stdout.isTTY === true,
    columns: process.stdout.isTTY ? process.stdout.columns : 0,
    launcher: join(root.folder, 'bin', 'sallyport.js'),
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    exitWith: (code) => {
      exitCode = code;
    },
  });
  process.stdout.on('error', () => process.exit(0)); // The reader of a pipe has left.
  const { argv } = process;
  try {
    await createProgram(context).parseAsync(argv);
  } catch (error) {
    exitCode = failed(error, argv.includes('check'), context.err);
  }
  process.exitCode = exitCode;
}

/** @returns the exit code: 1, but 2 for `check`, whose 1 means denied. */
function failed(error: unknown, check: boolean, err: (text: string) => void): number {
  const code = check ? 2 : 1;
  // commander has said what is wrong, or printed what was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : code;
  if (error instanceof Error && error.name === 'ExitPromptError') {
    err('Cancelled\n');
    return EXIT_INTERRUPTED;
  }
  err(`ERROR: ${wordsOf(error)}\n`);
  return code;
}

function wordsOf(error: unknown): string {
  if (error instanceof SallyportError) return `${error.message}\n${error.hint}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The folder of package.json: above src/ in a checkout, above dist/ in the package. */
function packageRoot(): { folder: string; version: string } {
  for (const up of ['../..', '../../..']) {
    const folder = join(import.meta.dirname, up);
    try {
      const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
      return { folder, version: String(manifest.version) };
    } catch {} // One level up, then.
  }
  return { folder: import.meta.dirname, version: 'unknown' };
}

await main();
