// Where paths lead, as the system says: links and `..` are followed before anything is judged. Looks at
// few paths at a time and not for long, since a dead network mount holds a thread for ever.
import { isUtf8 } from 'node:buffer';
import { lstat, realpath, stat } from 'node:fs/promises';
import { SallyportError } from '../base/errors.ts';
import { FILE_RESOLVE_MS, FILE_RESOLVE_WAITING_MAX, FILE_RESOLVING_MAX } from '../base/limits.ts';
import {
  faultOfPath,
  joinSegments,
  type PathSegments,
  type PathStyle,
  readPath,
  splitPath,
} from '../policy/file-path.ts';

export type ResolvedPath = {
  /** Without links and `..`, as the system spells it. */
  readonly path: string;
  readonly segments: PathSegments;
  /** What is there now; null: nothing is. */
  readonly found: {
    readonly device: string;
    readonly inode: string;
    readonly directory: boolean;
  } | null;
};

/** The look-ups of one question. */
export type Look = {
  /**
   * Follows a path that somebody wants to use.
   *
   * @throws SALLYPORT_PATH_INVALID, SALLYPORT_PATH_UNREADABLE
   */
  resolve(path: string): Promise<ResolvedPath>;
  /** Follows as much of a path as can be followed; the rest stays as it is. */
  follow(path: string): Promise<PathSegments>;
};

export class Disk {
  readonly style: PathStyle;
  readonly #timeoutMs: number;
  readonly #waiting: (() => void)[] = [];
  #active = 0;

  constructor(style: PathStyle, timeoutMs: number = FILE_RESOLVE_MS) {
    this.style = style;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Gives one question its look-ups.
   *
   * @throws what `work` throws, SALLYPORT_OVERLOADED, SALLYPORT_PATH_UNREADABLE when it takes too long.
   */
  async look<T>(work: (look: Look) => Promise<T>): Promise<T> {
    if (this.#active >= FILE_RESOLVING_MAX) await this.#turn();
    this.#active++;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => late.reject(unreadable(`the disk did not answer within ${this.#timeoutMs} ms`)),
      this.#timeoutMs,
    );
    // One that hangs keeps its place, whoever has given up on it.
    const working = work(lookOf(this.style)).finally(() => this.#leave());
    working.catch(() => {});
    try {
      return await Promise.race([working, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** @throws SALLYPORT_OVERLOADED, SALLYPORT_PATH_UNREADABLE */
  async #turn(): Promise<void> {
    if (this.#waiting.length >= FILE_RESOLVE_WAITING_MAX) {
      throw new SallyportError('SALLYPORT_OVERLOADED', 'too many paths are looked at already');
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#waiting.splice(this.#waiting.indexOf(resolve), 1);
      reject(unreadable(`the disk had no time for it within ${this.#timeoutMs} ms`));
    }, this.#timeoutMs);
    this.#waiting.push(resolve);
    await promise;
    clearTimeout(timer);
  }

  #leave(): void {
    this.#active--;
    this.#waiting.shift()?.();
  }
}

function lookOf(style: PathStyle): Look {
  return {
    resolve: (path) => resolve(path, style),
    follow: (path) => follow(path, style),
  };
}

async function resolve(path: string, style: PathStyle): Promise<ResolvedPath> {
  const fault = faultOfPath(path, style);
  if (fault !== null) throw invalid(path, fault);
  const names = namesOf(path, style);
  let there = names.length;
  let real = await realOf(joinSegments(names, style));
  while (real === null) {
    const head = joinSegments(names.slice(0, there), style);
    if (await isThere(head)) throw unreadable(`${head} is a link that leads nowhere`);
    const name = names[--there];
    if (name === '.' || name === '..') {
      throw unreadable(`${path} has a segment ${name} behind a folder that is not there`);
    }
    if (there === 0) throw unreadable(`${path} is on no drive of this machine`);
    real = await realOf(joinSegments(names.slice(0, there), style));
  }
  const missing = names.slice(there);
  const whole = joined(real, missing, style);
  const segments = readPath(whole, style);
  if (typeof segments === 'string') throw invalid(path, segments);
  return { path: whole, segments, found: missing.length === 0 ? await identityOf(real) : null };
}

/** What cannot be followed is not followed by a mount either, so it stays as it is written. */
async function follow(path: string, style: PathStyle): Promise<PathSegments> {
  const names = namesOf(path, style);
  for (let there = names.length; there > 0; there--) {
    const real = await realOf(joinSegments(names.slice(0, there), style)).catch(() => null);
    if (real === null) continue;
    const segments = readPath(joined(real, names.slice(there), style), style);
    if (typeof segments !== 'string') return segments;
  }
  throw unreadable(`${path} cannot be followed`);
}

/** The root first. */
function namesOf(path: string, style: PathStyle): readonly string[] {
  const split = splitPath(path, style);
  if (split === null) throw invalid(path, 'it is not absolute');
  return [split.root, ...split.names];
}

/** @param rest  names that follow; a root ends with a separator, other paths do not. */
function joined(real: string, rest: readonly string[], style: PathStyle): string {
  if (rest.length === 0) return real;
  const separator = style === 'windows' ? '\\' : '/';
  return (real.endsWith(separator) ? real : real + separator) + rest.join(separator);
}

/** @returns null when nothing is there @throws SALLYPORT_PATH_UNREADABLE */
async function realOf(path: string): Promise<string | null> {
  let bytes: Buffer;
  try {
    bytes = await realpath(path, { encoding: 'buffer' });
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return null;
    throw unreadable(`${path} cannot be followed: ${WORDS[code] ?? code}`, error);
  }
  if (!isUtf8(bytes)) throw unreadable(`${path} leads to a name that is no UTF-8`);
  return bytes.toString();
}

const WORDS: Readonly<Record<string, string>> = {
  EACCES: 'a folder on it may not be read',
  ELOOP: 'its links lead in a circle',
  ENOTDIR: 'a part of it is no folder',
  ENAMETOOLONG: 'it is too long',
};

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

async function identityOf(path: string): Promise<NonNullable<ResolvedPath['found']>> {
  try {
    const { dev, ino, mode } = await stat(path, { bigint: true });
    const directory = (mode & FILE_TYPE) === FOLDER;
    return { device: String(dev), inode: String(ino), directory };
  } catch (error) {
    throw unreadable(`${path} cannot be read: ${codeOf(error)}`, error);
  }
}

const FILE_TYPE = 0o170000n; // S_IFMT of POSIX.
const FOLDER = 0o040000n;

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'it failed';
}

function invalid(path: string, fault: string): SallyportError {
  const shown = JSON.stringify(path.slice(0, 200));
  return new SallyportError('SALLYPORT_PATH_INVALID', `${shown} cannot be judged: ${fault}`);
}

function unreadable(message: string, cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_PATH_UNREADABLE', message, { cause });
}
