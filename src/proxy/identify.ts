// Phase 2 of 5: who is asking. A sandbox is known by the listener it came through, by its token,
// or by its source address; nobody else gets further than 407.
import { createHash, timingSafeEqual } from 'node:crypto';
import { SallyportError } from '../base/errors.ts';
import type { Sandbox } from './exchange.ts';

/** What the registry knows of a sandbox; the token itself is never here. */
export type Credentials = Sandbox & {
  /** Hex SHA-256 of the token. */
  readonly tokenSha256: string;
  readonly sourceAddress: string | null;
};

/** What a connection tells about its client. */
export type Origin = {
  /** The sandbox whose own listener this is; null on the shared one. */
  readonly listener: string | null;
  /** Canonical address of the client; '' on a unix socket. */
  readonly remoteAddress: string;
  readonly loopback: boolean;
  /** Whose the latest request is, once that is known. */
  sandbox?: string;
  /** Why the connection was ended, when it was not its client that did. */
  cut?: string;
};

const UNKNOWN_TOKEN = Buffer.alloc(32); // Compared with when the name is unknown, for equal time.

/** All sandboxes a worker may serve, replaced as a whole when the daemon says so. */
export class Registry {
  readonly #byName = new Map<string, { sandbox: Sandbox; token: Buffer }>();
  readonly #bySource = new Map<string, Sandbox>();
  readonly #default: Sandbox | null;

  constructor(records: readonly Credentials[], defaultSandbox: string | null) {
    for (const { name, scope, deny, tokenSha256, sourceAddress } of records) {
      const sandbox = { name, scope, deny };
      this.#byName.set(name, { sandbox, token: Buffer.from(tokenSha256, 'hex') });
      if (sourceAddress !== null) this.#bySource.set(sourceAddress, sandbox);
    }
    this.#default = (defaultSandbox && this.#byName.get(defaultSandbox)?.sandbox) || null;
  }

  /**
   * Names the sandbox behind a request. Credentials that are sent must be right: a wrong token is
   * never taken for the default sandbox or for the source address it came from.
   *
   * @param authorization  the Proxy-Authorization field's value, or null.
   * @throws SALLYPORT_SANDBOX_UNKNOWN
   */
  identify(origin: Origin, authorization: string | null): Sandbox {
    if (origin.listener !== null) {
      const own = this.#byName.get(origin.listener);
      if (own !== undefined) return own.sandbox;
      throw new SallyportError(
        'SALLYPORT_SANDBOX_UNKNOWN',
        'this listener has no sandbox any more',
      );
    }
    if (authorization !== null) return this.#byToken(authorization);
    const bySource = this.#bySource.size > 0 ? this.#bySource.get(origin.remoteAddress) : undefined;
    if (bySource !== undefined) return bySource;
    if (origin.loopback && this.#default !== null) return this.#default;
    throw new SallyportError('SALLYPORT_SANDBOX_UNKNOWN', 'the proxy does not know this client');
  }

  /** The sandbox of a tunnel that was opened before. @throws SALLYPORT_SANDBOX_UNKNOWN when it is gone */
  named(name: string): Sandbox {
    const known = this.#byName.get(name);
    if (known !== undefined) return known.sandbox;
    throw new SallyportError('SALLYPORT_SANDBOX_UNKNOWN', 'this sandbox is gone');
  }

  /** RFC 7617: Basic, `name:token` in base64. The name is a key of a Map, never part of a query. */
  #byToken(authorization: string): Sandbox {
    const encoded = /^basic ([\w+/=-]{1,512})$/i.exec(authorization)?.[1];
    const pair = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('latin1');
    const colon = pair.indexOf(':');
    const known = this.#byName.get(pair.slice(0, Math.max(colon, 0)));
    const sent = createHash('sha256')
      .update(pair.slice(colon + 1), 'latin1')
      .digest();
    const same = timingSafeEqual(sent, known?.token ?? UNKNOWN_TOKEN);
    if (known !== undefined && same && colon > 0) return known.sandbox;
    throw new SallyportError('SALLYPORT_SANDBOX_UNKNOWN', 'the proxy credentials are wrong');
  }
}
