// Secret values as they lie on the disk: AES-256-GCM (NIST SP 800-38D) under one key in a file of its
// own, so that a copy of the database alone tells nothing. It stores nothing but that key.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { SallyportError } from '../base/errors.ts';

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12; // Random ones suffice for 2^32 values under one key (SP 800-38D section 8.3).
const TAG_BYTES = 16;

export class Vault {
  readonly #key: Buffer;
  readonly #keyFile: string;

  private constructor(key: Buffer, keyFile: string) {
    this.#key = key;
    this.#keyFile = keyFile;
  }

  /**
   * Reads the key.
   *
   * @param keyFile  32 bytes, readable by their owner alone.
   * @param missing  what to do when there is none. A key that somebody else provides is never made
   *   here: a new one would hide that theirs is missing.
   * @throws SALLYPORT_VAULT_UNREADABLE
   */
  static open(keyFile: string, missing: 'create' | 'refuse' = 'create'): Vault {
    if (missing === 'create' && !existsSync(keyFile)) create(keyFile);
    return new Vault(readKey(keyFile), keyFile);
  }

  /** @returns nonce, tag and ciphertext; bound to `id`, so it cannot stand in for another secret. */
  seal(id: string, value: string): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#key, nonce).setAAD(Buffer.from(id));
    const text = Buffer.concat([cipher.update(value, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), text]);
  }

  /** @throws SALLYPORT_VAULT_UNREADABLE for what another key sealed, or what was changed since. */
  open(id: string, sealed: Uint8Array): string {
    try {
      const nonce = sealed.subarray(0, NONCE_BYTES);
      const tag = sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
      const decipher = createDecipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(id)).setAuthTag(tag);
      const text = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES));
      return Buffer.concat([text, decipher.final()]).toString();
    } catch (cause) {
      throw unreadable(`a secret was not sealed with the key in ${this.#keyFile}`, cause);
    }
  }
}

function readKey(keyFile: string): Buffer {
  let file: number;
  try {
    file = openSync(keyFile, 'r');
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'it fails';
    throw unreadable(`the key file ${keyFile} cannot be opened: ${why}`, cause);
  }
  try {
    const status = fstatSync(file);
    if ((status.mode & 0o077) !== 0) {
      throw unreadable(
        `others may use the key file ${keyFile}; run chmod 600 ${keyFile}, and replace the secrets if anybody did`,
      );
    }
    if (!status.isFile() || status.size !== KEY_BYTES) {
      throw unreadable(`the key file ${keyFile} does not hold ${KEY_BYTES} bytes`);
    }
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

/** Whole or not at all, and on the disk before anything is sealed with it. */
function create(keyFile: string): void {
  const draft = `${keyFile}.new`;
  const file = openSync(draft, 'w', 0o600);
  writeSync(file, randomBytes(KEY_BYTES));
  fsyncSync(file);
  closeSync(file);
  renameSync(draft, keyFile);
  const folder = openSync(dirname(keyFile), 'r');
  fsyncSync(folder);
  closeSync(folder);
}

function unreadable(message: string, cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_VAULT_UNREADABLE', message, { cause });
}
