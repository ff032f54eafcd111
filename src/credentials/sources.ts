// Secrets that a command of the user's gives out, such as `op read` or `gcloud auth print-access-token`.
// What it writes is the value, so neither that nor what it says on stderr reaches a log or an error.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import {
  SECRET_COMMAND_RETRY_MS,
  SECRET_COMMAND_TIMEOUT_MS,
  SECRET_ON_DEMAND_MS,
  SECRET_VALUE_BYTES_MAX,
} from '../base/limits.ts';
import { outputOfProgram, ProgramError } from './child.ts';
import { faultOfValue } from './value.ts';

/** As a refresh interval: fetched when it is used. */
export const ON_DEMAND_MS = 0;

/** Where a value comes from that is not stored itself. */
export type Source = {
  /** The value as it was last; null when there is none that may be used. */
  readonly last: string | null;
  /** Whether asking again is useless until a person has changed something. */
  readonly final: boolean;
  /** @returns a value that is fresh. @throws SALLYPORT_CREDENTIAL_UNAVAILABLE */
  value(): Promise<string>;
  /** @returns a value just obtained. @throws SALLYPORT_CREDENTIAL_UNAVAILABLE */
  fetch(): Promise<string>;
};

export type SourceOptions = {
  readonly command: string;
  /** How long a value serves; ON_DEMAND_MS: for SECRET_ON_DEMAND_MS. */
  readonly refreshMs: number;
  readonly clock: Clock;
  /** Ends the run that is under way; it fails. */
  readonly signal: AbortSignal;
};

/** A command and the value it gave last. */
export class CommandSource implements Source {
  readonly final = false;
  readonly #options: SourceOptions;
  #value: string | null = null;
  #fetchedMs = 0;
  #failure: { readonly error: unknown; readonly atMs: number } | null = null;
  #running: Promise<string> | null = null;

  constructor(options: SourceOptions) {
    this.#options = options;
  }

  /** The value as it was last, however old; null before the first. */
  get last(): string | null {
    return this.#value;
  }

  /** @returns a value that is still fresh, or another. @throws what `fetch` throws, or threw just now */
  async value(): Promise<string> {
    const { clock, refreshMs } = this.#options;
    const freshMs = refreshMs === ON_DEMAND_MS ? SECRET_ON_DEMAND_MS : refreshMs;
    const nowMs = clock.monotonicMs();
    if (this.#value !== null && nowMs - this.#fetchedMs < freshMs) return this.#value;
    const failure = this.#failure;
    if (failure !== null && nowMs - failure.atMs < SECRET_COMMAND_RETRY_MS) throw failure.error;
    return this.fetch();
  }

  /**
   * Runs the command, or waits for the run that is under way.
   *
   * @throws SALLYPORT_CREDENTIAL_UNAVAILABLE; the value it gave before stays.
   */
  fetch(): Promise<string> {
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #run(): Promise<string> {
    const { command, clock, signal } = this.#options;
    try {
      const value = await outputOf(command, { signal });
      this.#value = value;
      this.#fetchedMs = clock.monotonicMs();
      this.#failure = null;
      return value;
    } catch (error) {
      this.#failure = { error, atMs: clock.monotonicMs() };
      throw error;
    }
  }
}

type RunOptions = { readonly signal?: AbortSignal; readonly timeoutMs?: number };

/**
 * Runs a command line of the user's with /bin/sh, in an empty folder of its own.
 *
 * @returns what it writes on stdout, without one line end at the end.
 * @throws SALLYPORT_CREDENTIAL_UNAVAILABLE when it fails, takes longer than SECRET_COMMAND_TIMEOUT_MS,
 *   or writes what can be no secret.
 */
export async function outputOf(command: string, options: RunOptions = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-secret-'));
  try {
    const text = await outputOfProgram({
      command: '/bin/sh',
      args: ['-c', command],
      cwd: folder,
      timeoutMs: options.timeoutMs ?? SECRET_COMMAND_TIMEOUT_MS,
      bytesMax: SECRET_VALUE_BYTES_MAX,
      signal: options.signal,
    });
    const value = text.replace(/\r?\n$/, '');
    const fault = faultOfValue(value);
    if (fault !== null) throw unavailable(`wrote no secret: ${fault}`);
    return value;
  } catch (error) {
    throw error instanceof ProgramError ? unavailable(error.message) : error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function unavailable(why: string): SallyportError {
  return new SallyportError('SALLYPORT_CREDENTIAL_UNAVAILABLE', `the command of the secret ${why}`);
}
