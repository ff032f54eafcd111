// The daemon's own log: JSON lines with time, level and msg, to stdout, or to daemon.log when nobody
// watches. For operators; what sandboxes do is in the audit. Carries no token and no header.
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { type Logger, pino, stdTimeFunctions } from 'pino';
import { DAEMON_LOG_BYTES_MAX } from '../base/limits.ts';
import type { LogLevel } from './api/services.ts';

/** @param path  a file, kept below DAEMON_LOG_BYTES_MAX by moving it aside; null for stdout. */
export function createDaemonLog(path: string | null, level: LogLevel): Logger {
  const stream = path === null ? { write: toStdout } : new RotatingFile(path, DAEMON_LOG_BYTES_MAX);
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
}

/** A reader that went away (EPIPE) must not end the daemon. */
function toStdout(line: string): void {
  try {
    writeSync(1, line);
  } catch {
    // There is nobody to tell.
  }
}

/** Written at once: after a crash the last line is the one that matters. */
export class RotatingFile {
  readonly #path: string;
  readonly #bytesMax: number;
  #descriptor: number;
  #bytes: number;

  constructor(path: string, bytesMax: number) {
    this.#path = path;
    this.#bytesMax = bytesMax;
    this.#descriptor = openSync(path, 'a', 0o600);
    this.#bytes = fstatSync(this.#descriptor).size;
  }

  write(line: string): void {
    try {
      if (this.#bytes >= this.#bytesMax) this.#rotate();
      this.#bytes += writeSync(this.#descriptor, line);
    } catch {
      // A full disk: the proxy goes on without its log; the audit is what must not be lost.
    }
  }

  #rotate(): void {
    renameSync(this.#path, `${this.#path}.1`);
    closeSync(this.#descriptor);
    this.#descriptor = openSync(this.#path, 'a', 0o600);
    this.#bytes = 0;
  }
}
