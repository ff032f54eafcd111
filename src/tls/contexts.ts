// What a worker speaks TLS with in the name of each host: a bounded number of contexts, made when
// first needed, made anew before their certificate ends.
import { createHash } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { LEAVES_MAX } from '../base/limits.ts';
import type { AuthorityMaterial } from './authority.ts';
import { LeafMinter } from './leaf.ts';

export type ServerContextsOptions = {
  readonly authority: AuthorityMaterial;
  /** 48 bytes, the same for all workers, so that a session of one goes on on another (RFC 5077). */
  readonly ticketKeys: Buffer;
  readonly clock: Clock;
  /** How many are kept. */
  readonly max?: number;
};

type Kept = { readonly context: SecureContext; readonly untilMs: number };

const RENEWAL_MS = 86_400_000;
const SESSION_SECONDS = 43_200;

export class ServerContexts {
  readonly #options: ServerContextsOptions;
  readonly #minter: LeafMinter;
  readonly #contexts = new Map<string, Kept>(); // Least lately used first.

  constructor(options: ServerContextsOptions) {
    this.#options = options;
    this.#minter = new LeafMinter(options.authority);
  }

  /** @param host  a name or a canonical address */
  contextFor(host: string): SecureContext {
    const { clock, max = LEAVES_MAX } = this.#options;
    const nowMs = clock.wallMs();
    const known = this.#contexts.get(host);
    this.#contexts.delete(host);
    const kept = known !== undefined && known.untilMs > nowMs ? known : this.#make(host, nowMs);
    this.#contexts.set(host, kept);
    if (this.#contexts.size > max) this.#contexts.delete(this.#contexts.keys().next().value ?? '');
    return kept.context;
  }

  #make(host: string, nowMs: number): Kept {
    const { certificatePem, keyPem, notAfterMs } = this.#minter.mint(host, nowMs);
    const context = createSecureContext({
      cert: certificatePem,
      key: keyPem,
      minVersion: 'TLSv1.2',
      ticketKeys: this.#options.ticketKeys,
      sessionTimeout: SESSION_SECONDS,
      // A session is resumed for the host it was made for, and for no other.
      sessionIdContext: createHash('sha256').update(host).digest('hex').slice(0, 32),
    });
    return { context, untilMs: notAfterMs - RENEWAL_MS };
  }
}
