// What sandboxes need to verify the proxy and everybody else: public files in a folder that can be
// mounted as a whole. Written whole or not at all, and only when they differ.
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { javaTrustStore } from '../tls/pkcs12.ts';
import { systemAuthorities, trustedAuthorities } from '../tls/roots.ts';

/** Names in the folder. */
export const TRUST_FILES = {
  /** PEM of the proxy's authority and of those added for destinations, for programs that add to their own. */
  added: 'ca.pem',
  /** PEM of these and of the system's, for programs whose own are replaced. */
  bundle: 'bundle.pem',
  /** The same, PKCS#12. */
  java: 'truststore.p12',
} as const;

export type TrustOptions = {
  readonly folder: string;
  /** PEM that clients of the proxy trust at the moment. */
  readonly authority: () => string;
  /** PEM of authorities that destinations may have beside the system's. */
  readonly upstream: readonly string[];
  readonly onTrouble: (error: unknown) => void;
};

export class TrustFiles {
  readonly folder: string;
  readonly #options: TrustOptions;
  /** What the files were made of; the system's own is read once in the life of a process. */
  #given: string | null = null;

  constructor(options: TrustOptions) {
    this.#options = options;
    this.folder = options.folder;
  }

  /** Brings the files up to date if anybody was ever given them. The proxy works without them. */
  refresh(): void {
    if (!existsSync(this.folder)) return;
    try {
      this.write();
    } catch (error) {
      this.#options.onTrouble(error);
    }
  }

  /**
   * Brings the files up to date.
   *
   * @throws what the file system throws; what stands there is then whole, and of before.
   */
  write(): void {
    const { authority, upstream } = this.#options;
    const given = [authority(), ...upstream].join('\n');
    const names = Object.values(TRUST_FILES);
    if (given === this.#given && names.every((name) => existsSync(join(this.folder, name)))) return;
    const added = trustedAuthorities([], [given]);
    const all = trustedAuthorities(systemAuthorities(), added);
    mkdirSync(this.folder, { recursive: true });
    chmodSync(this.folder, 0o755); // Sandboxes run as other users.
    this.#put(TRUST_FILES.added, Buffer.from(added.join('')));
    this.#put(TRUST_FILES.bundle, Buffer.from(all.join('')));
    this.#put(TRUST_FILES.java, javaTrustStore(all));
    this.#given = given;
  }

  #put(name: string, content: Buffer): void {
    const path = join(this.folder, name);
    if (contentOf(path)?.equals(content)) return;
    const draft = `${path}.draft`;
    writeFileSync(draft, content, { flush: true });
    chmodSync(draft, 0o644); // Whatever the umask is.
    renameSync(draft, path);
  }
}

/** @returns null when it cannot be read */
function contentOf(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch {
    return null;
  }
}
