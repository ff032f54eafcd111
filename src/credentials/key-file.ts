// The file that holds the key of the secrets, or says which key of the keychain it is. It is its owner's
// alone, and written whole or not at all.
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { SallyportError } from '../base/errors.ts';
import { replaceFile } from '../base/replace-file.ts';

export const KEY_BYTES = 32; // AES-256

/** The key itself, or the id that the keychain has it under. */
export type KeyFileContent = { readonly key: Buffer } | { readonly id: string };

/** Never as long as a key, so a program that knows keys alone refuses it. */
const IN_KEYCHAIN = /^in keychain: ([0-9a-f]{32})\n$/;

/**
 * @returns null when there is no such file.
 * @throws SALLYPORT_VAULT_UNREADABLE for one that others may use, or that holds neither.
 */
export function readKeyFile(path: string): KeyFileContent | null {
  const file = openKeyFile(path);
  if (file === null) return null;
  try {
    const status = fstatSync(file);
    if ((status.mode & 0o077) !== 0) {
      throw unreadable(
        `others may use the key file ${path}; run chmod 600 ${path}, and replace the secrets if anybody did`,
      );
    }
    const content = status.isFile() && status.size <= 2 * KEY_BYTES ? readFileSync(file) : null;
    if (content?.length === KEY_BYTES) return { key: content };
    const id = IN_KEYCHAIN.exec(content?.toString() ?? '')?.[1];
    if (id === undefined) throw unreadable(`the key file ${path} does not hold ${KEY_BYTES} bytes`);
    return { id };
  } finally {
    closeSync(file);
  }
}

function openKeyFile(path: string): number | null {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'it fails';
    if (why === 'ENOENT') return null;
    throw unreadable(`the key file ${path} cannot be opened: ${why}`, cause);
  }
}

/** On the disk when it returns. @throws what the system says; the file is as it was, then */
export function writeKeyFile(path: string, content: KeyFileContent): void {
  replaceFile(path, 'key' in content ? content.key : `in keychain: ${content.id}\n`);
}

export function unreadable(message: string, cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_VAULT_UNREADABLE', message, { cause });
}
