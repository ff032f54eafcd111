// Secret values as they lie on the disk: AES-256-GCM (NIST SP 800-38D) under one key that is not in the
// database, so that a copy of that alone tells nothing. It stores nothing.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { unreadable } from './key-file.ts';
import type { KeyStore } from './key-store.ts';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12; // Random ones suffice for 2^32 values under one key (SP 800-38D section 8.3).
const TAG_BYTES = 16;

export class Vault {
  readonly #keys: KeyStore;

  constructor(keys: KeyStore) {
    this.#keys = keys;
  }

  /** Without one nothing is opened: it cannot be had, or was not made yet. */
  get hasKey(): boolean {
    return this.#keys.key !== null;
  }

  /**
   * @returns nonce, tag and ciphertext; bound to `id`, so it cannot stand in for another secret.
   * @throws SALLYPORT_VAULT_UNREADABLE when the key cannot be had; nothing is sealed with another.
   */
  async seal(id: string, value: string): Promise<Buffer> {
    const key = await this.#keys.need();
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(id));
    const text = Buffer.concat([cipher.update(value, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), text]);
  }

  /** @throws SALLYPORT_VAULT_UNREADABLE for what another key sealed, or what was changed since. */
  open(id: string, sealed: Uint8Array): string {
    const { key, status, where } = this.#keys;
    if (key === null) throw unreadable(status.problem ?? 'there is no key');
    try {
      const nonce = sealed.subarray(0, NONCE_BYTES);
      const tag = sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
      const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(id)).setAuthTag(tag);
      const text = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES));
      return Buffer.concat([text, decipher.final()]).toString();
    } catch (cause) {
      throw unreadable(`a secret was not sealed with the key in ${where}`, cause);
    }
  }
}
