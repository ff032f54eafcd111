// The key that secrets are sealed with: where it is, and where a new one goes. It is made with the first
// secret, so an instance without secrets asks no keychain. It never makes a second key while something
// is sealed with one that cannot be had.
import { createHash, randomBytes } from 'node:crypto';
import { KEY_BYTES, readKeyFile, unreadable, writeKeyFile } from './key-file.ts';
import { type Keychain, KeychainError } from './keychain.ts';

/** `auto`: where it is; a new one in the keychain when that takes it, else in the file. */
export const KEY_PLACES = ['auto', 'file', 'keychain'] as const;
export type KeyPlace = (typeof KEY_PLACES)[number];

export type KeyStoreOptions = {
  readonly keyFile: string;
  /** Somebody else provides the file: it must be there, and nothing here writes it. */
  readonly provided: boolean;
  /** Where the key shall be: one that is elsewhere moves there. */
  readonly place: KeyPlace;
  readonly keychain: Keychain;
  /** Whether there are secrets that need the key there was. */
  readonly isNeeded: () => boolean;
  /** What became of the key, for the log. */
  readonly report: (level: 'info' | 'warn', message: string) => void;
};

export type KeyStatus = {
  /** Null: no key was made yet. */
  readonly place: 'file' | 'keychain' | null;
  /** Why the key cannot be had, and what to do. */
  readonly problem: string | null;
};

const IN_KEYCHAIN = 'the key of the secrets is in the keychain and cannot be had';
const TRY_AGAIN =
  'open the keychain and run `sallyport daemon restart` where it can be reached, or give the key up: `sallyport secret rm --all --force`, then `sallyport daemon restart --key-store file`';

export class KeyStore {
  readonly #options: KeyStoreOptions;
  #key: Buffer | null = null;
  #status: KeyStatus = { place: null, problem: null };
  #making: Promise<Buffer> | null = null;

  private constructor(options: KeyStoreOptions) {
    this.#options = options;
  }

  /**
   * Reads the key, and moves it where it shall be. A keychain is waited for some seconds; one that does
   * not answer is a `problem`, not a fault.
   *
   * @throws SALLYPORT_VAULT_UNREADABLE for a file that cannot be used.
   */
  static async open(options: KeyStoreOptions): Promise<KeyStore> {
    const store = new KeyStore(options);
    const { keyFile, provided } = options;
    const content = readKeyFile(keyFile);
    if (provided && content === null) {
      throw unreadable(`the key file ${keyFile} cannot be opened: ENOENT`);
    }
    if (provided && content !== null && 'id' in content) {
      throw unreadable(`the key file ${keyFile} holds no key: that is in a keychain`);
    }
    if (content === null) store.#lose();
    else if ('key' in content) await store.#openFile(content.key);
    else await store.#openKeychain(content.id);
    return store;
  }

  /** Null when it cannot be had, or was not made yet. */
  get key(): Buffer | null {
    return this.#key;
  }

  get status(): KeyStatus {
    return this.#status;
  }

  /** Where the key is, for people. */
  get where(): string {
    return this.#status.place === 'keychain' ? 'the keychain' : this.#options.keyFile;
  }

  /**
   * @returns the key; makes one when there is none.
   * @throws SALLYPORT_VAULT_UNREADABLE when it cannot be had, or a keychain that must take it does not.
   */
  async need(): Promise<Buffer> {
    if (this.#key !== null) return this.#key;
    this.#making ??= this.#make().finally(() => {
      this.#making = null;
    });
    return this.#making;
  }

  #lose(): void {
    const problem = `the key file ${this.#options.keyFile} is gone, and secrets need it: give it back, or remove them with \`sallyport secret rm --all --force\``;
    if (this.#options.isNeeded()) this.#status = { place: 'file', problem };
  }

  async #openFile(key: Buffer): Promise<void> {
    const { place, provided, report } = this.#options;
    this.#take(key, 'file');
    if (place !== 'keychain' || provided) return;
    try {
      await this.#keepInKeychain(key);
    } catch (error) {
      if (!(error instanceof KeychainError)) throw error;
      report('warn', `the key of the secrets stays in the file: the keychain: ${error.message}`);
    }
  }

  async #openKeychain(id: string): Promise<void> {
    const key = await this.#found(id).catch((error: unknown) => {
      if (!(error instanceof KeychainError)) throw error;
      return error;
    });
    const { place, isNeeded } = this.#options;
    if (key instanceof KeychainError) {
      // A keychain is given up when somebody says so, not for being locked once.
      if (place !== 'auto' && !isNeeded()) return;
      const problem = `${IN_KEYCHAIN}: ${key.message}; ${TRY_AGAIN}`;
      this.#status = { place: 'keychain', problem };
      return;
    }
    this.#take(key, 'keychain');
    if (place === 'file') this.#keepInFile(key);
  }

  async #make(): Promise<Buffer> {
    const { place, isNeeded, report } = this.#options;
    const { place: before, problem } = this.#status;
    const kept = isNeeded() || (before === 'keychain' && place === 'auto');
    if (problem !== null && kept) throw unreadable(problem);
    const key = randomBytes(KEY_BYTES);
    if (place === 'file') return this.#keepInFile(key);
    try {
      return await this.#keepInKeychain(key);
    } catch (error) {
      if (!(error instanceof KeychainError)) throw error;
      if (place === 'keychain') {
        const what = `the keychain does not take the key of the secrets: ${error.message}`;
        throw unreadable(`${what}; --key-store file does without`);
      }
      report('info', `no keychain for the key of the secrets: ${error.message}`);
      return this.#keepInFile(key);
    }
  }

  /** The file then says where it is. What the keychain has is looked at first. */
  async #keepInKeychain(key: Buffer): Promise<Buffer> {
    const id = idOf(key);
    await this.#options.keychain.store(id, key.toString('hex'));
    await this.#found(id);
    writeKeyFile(this.#options.keyFile, { id });
    return this.#keep(key, 'keychain');
  }

  #keepInFile(key: Buffer): Buffer {
    writeKeyFile(this.#options.keyFile, { key });
    return this.#keep(key, 'file');
  }

  #keep(key: Buffer, place: 'file' | 'keychain'): Buffer {
    this.#take(key, place);
    this.#options.report('info', `the key of the secrets is now in ${this.where}`);
    return key;
  }

  #take(key: Buffer, place: 'file' | 'keychain'): void {
    this.#key = key;
    this.#status = { place, problem: null };
  }

  /** @throws KeychainError */
  async #found(id: string): Promise<Buffer> {
    const text = await this.#options.keychain.find(id);
    if (text === null) throw new KeychainError('it does not have the key');
    const key = Buffer.from(text, 'hex');
    if (idOf(key) !== id) throw new KeychainError('what it has is another key');
    return key;
  }
}

/** Tells keys from one another, and tells nothing about them: they are random. */
function idOf(key: Buffer): string {
  return createHash('sha256').update('sallyport ').update(key).digest('hex').slice(0, 32);
}
