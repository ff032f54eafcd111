// The certificate authority on the disk, and the keys of session tickets. Made at the first start,
// renewed before it ends, replaced by the operator's own. Its key is read here and by the workers.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { TICKET_KEYS_MS } from '../base/limits.ts';
import { replaceFile } from '../base/replace-file.ts';
import {
  type AuthorityMaterial,
  createAuthority,
  describeAuthority,
  exportAuthority,
  importAuthority,
  needsRenewal,
} from '../tls/authority.ts';

const NAME = 'Sallyport Proxy CA';
const TICKET_KEYS_BYTES = 48;

const Kept = z.strictObject({
  certificatePem: z.string(),
  chainPem: z.string(),
  trustPem: z.string(),
  keyPem: z.string(),
  /** The operator's own: never renewed by us. */
  imported: z.boolean(),
});

export type ExportFormat = 'pem' | 'der' | 'bundle';

export type AuthorityInfo = ReturnType<typeof describeAuthority> & {
  readonly imported: boolean;
};

export type AuthorityOptions = {
  /** The file it is kept in, mode 0600. */
  readonly path: string;
  readonly clock: Clock;
  /** Tells all workers; resolves when all of them go by it. */
  readonly onChange: () => Promise<void>;
  /** It cannot be renewed, and has not ended yet. */
  readonly onTrouble: (error: unknown) => void;
};

export class Authority {
  readonly #options: AuthorityOptions;
  #kept: z.infer<typeof Kept>;
  #ticketKeys = randomBytes(TICKET_KEYS_BYTES);
  readonly #timer: NodeJS.Timeout;

  /** @throws SALLYPORT_AUTHORITY_INVALID when the file cannot be understood; it is not replaced */
  constructor(options: AuthorityOptions) {
    this.#options = options;
    this.#kept = existsSync(options.path) ? read(options.path) : this.#made();
    if (!this.#kept.imported && needsRenewal(this.#kept, options.clock.wallMs())) {
      this.#kept = this.#made();
    }
    // A ticket key that is known opens every session it was used for (RFC 5077 section 5.5).
    this.#timer = setInterval(() => void this.#renewTicketKeys(), TICKET_KEYS_MS);
    this.#timer.unref();
  }

  get material(): AuthorityMaterial {
    const { imported: _, ...material } = this.#kept;
    return material;
  }

  get ticketKeys(): Uint8Array {
    return this.#ticketKeys;
  }

  info(): AuthorityInfo {
    return { ...describeAuthority(this.#kept), imported: this.#kept.imported };
  }

  export(format: ExportFormat): Buffer {
    return exportAuthority(this.#kept, format);
  }

  /** A new authority of our own; clients must be given it before they trust the proxy again. */
  async rotate(): Promise<AuthorityInfo> {
    this.#kept = this.#made();
    await this.#options.onChange();
    return this.info();
  }

  /** @throws SALLYPORT_AUTHORITY_INVALID naming every fault; nothing is changed then */
  async import(content: Buffer, passphrase: string | null): Promise<AuthorityInfo> {
    this.#keep({
      ...importAuthority(content, passphrase, this.#options.clock.wallMs()),
      imported: true,
    });
    await this.#options.onChange();
    return this.info();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #made(): z.infer<typeof Kept> {
    const made = createAuthority({ name: NAME, nowMs: this.#options.clock.wallMs() });
    return this.#keep({ ...made, imported: false });
  }

  /** On the disk whole, or not at all. */
  #keep(kept: z.infer<typeof Kept>): z.infer<typeof Kept> {
    replaceFile(this.#options.path, `${JSON.stringify(kept)}\n`);
    this.#kept = kept;
    return kept;
  }

  async #renewTicketKeys(): Promise<void> {
    this.#ticketKeys = randomBytes(TICKET_KEYS_BYTES);
    const { clock, onTrouble } = this.#options;
    try {
      if (!this.#kept.imported && needsRenewal(this.#kept, clock.wallMs())) this.#made();
    } catch (error) {
      onTrouble(error); // There is time: it is tried again with the next keys.
    }
    await this.#options.onChange().catch(() => {}); // The next change tells it too.
  }
}

function read(path: string): z.infer<typeof Kept> {
  try {
    return Kept.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new SallyportError(
      'SALLYPORT_AUTHORITY_INVALID',
      `${path} is no authority of this proxy; give it back, or remove it for a new one`,
      { cause },
    );
  }
}
