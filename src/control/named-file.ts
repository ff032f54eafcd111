// Files that the user names, read whole: within bounds, and never waiting for one that is no file. One that
// holds a secret must be its owner's alone. What a fault is called, whoever asks says.
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { SallyportError } from '../base/errors.ts';

export type NamedFile = {
  readonly bytesMax: number;
  readonly fault: (message: string, cause?: unknown) => SallyportError;
  /** What nobody else may use, `key`; absent: others may read it. */
  readonly secret?: string;
};

/** @throws the fault for what cannot be read, is no file, is longer, or others may use */
export function contentIn(path: string, { bytesMax, fault, secret }: NamedFile): Buffer {
  let opened: number | null = null;
  try {
    opened = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK); // A pipe would wait for its writer.
    // Of what is read, and of nothing that was put in its place meanwhile.
    const status = fstatSync(opened);
    if (!status.isFile()) throw fault(`${path} is no file`);
    if (status.size > bytesMax) throw fault(`${path} is too long`);
    const shared = secret === undefined ? null : sharingOf(path, secret, status);
    if (shared !== null) throw fault(shared);
    return readFileSync(opened);
  } catch (cause) {
    if (cause instanceof SallyportError) throw cause;
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'it fails';
    throw fault(`${path} cannot be read: ${why}`, cause);
  } finally {
    if (opened !== null) closeSync(opened);
  }
}

/**
 * Its owner's alone, as for ssh; one of root's may be for a group that it lets in, as for PostgreSQL.
 *
 * @returns what is wrong, or null.
 */
export function sharingOf(
  path: string,
  secret: string,
  { mode, uid }: Pick<Stats, 'mode' | 'uid'>,
): string | null {
  const others = uid === 0 ? 0o037 : 0o077;
  if ((mode & others) === 0) return null;
  return `others may use the ${secret} in ${path}; run chmod 600 ${path}, and have a new one issued if anybody did`;
}
