// The entry: hands the process's arguments, environment, streams and signals to one command. Nothing
// else in src/cli reads or changes them.
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { SECRET_VALUE_BYTES_MAX } from '../base/limits.ts';
import { runCommand } from './command.ts';
import type { Surroundings } from './context.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function processContext(): Omit<Surroundings, 'exitWith' | 'words'> {
  const root = packageRoot();
  const { stdin, stdout, stderr } = process;
  let onOutputLost = (): void => process.exit(0);
  stdout.on('error', () => onOutputLost()); // The reader of a pipe has left.
  stderr.on('error', () => {});
  return {
    program: process.env.SALLYPORT_PROGRAM === 'sbx' ? 'sbx' : 'sallyport',
    version: root.version,
    env: process.env,
    terminal: stdin.isTTY && stdout.isTTY ? { input: stdin, output: stdout } : null,
    stdin: stdin.isTTY ? null : (bytesMax = SECRET_VALUE_BYTES_MAX) => readPiped(stdin, bytesMax),
    columns: stdout.isTTY ? stdout.columns : 0,
    launcher: join(root.folder, 'bin', 'sallyport.js'),
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    onInterrupt: (handler) => {
      const before = onOutputLost;
      onOutputLost = () => handler(128 + constants.signals.SIGPIPE);
      const onSignal = (signal: (typeof SIGNALS)[number]): void =>
        handler(128 + constants.signals[signal]);
      for (const signal of SIGNALS) process.on(signal, onSignal);
      return () => {
        onOutputLost = before;
        for (const signal of SIGNALS) process.off(signal, onSignal);
      };
    },
  };
}

/** All that is piped in, up to a little more than what any value may have. */
async function readPiped(stream: NodeJS.ReadableStream, bytesMax: number): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of stream) {
    pieces.push(Buffer.from(piece));
    bytes += piece.length;
    if (bytes > bytesMax + '\r\n'.length) break;
  }
  return Buffer.concat(pieces).toString();
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

process.exitCode = await runCommand(processContext(), process.argv.slice(2));
