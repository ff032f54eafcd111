// Client certificates (RFC 8446 section 4.3.2): which one is presented to which destination. They are
// given when the daemon starts, and are everybody's whom the policy lets reach that destination.
import { resourceMatches } from '../policy/reference.ts';
import { parseResources, type Resource } from '../policy/resource.ts';

export type KeyPair = {
  /** PEM; its own certificate first, then those above it. */
  readonly chain: string;
  /** PEM, not encrypted. */
  readonly key: string;
};

export type ClientCertificate = KeyPair & {
  /** Whom it is presented to, in normal form: `api.example.com`, `*.example.com:8443`. */
  readonly resource: string;
};

/** Gets a certificate with its key; null when it cannot be had. */
type KeyPairOf = (resource: string) => Promise<KeyPair | null>;

/** Where certificates go. It holds no key: that is fetched when a destination first needs it. */
export class ClientCertificates {
  readonly #resources: readonly Resource[];
  readonly keyPairOf: KeyPairOf;

  /** @param resources  of all certificates, in the order in which they were given. */
  constructor(resources: readonly string[], keyPairOf: KeyPairOf) {
    this.#resources = resources.flatMap((one) => parseResources(one));
    this.keyPairOf = keyPairOf;
  }

  /** The resource of the certificate for a destination; of several, the first that was given. */
  towards(host: string, port: number): string | null {
    return this.#resources.find((one) => resourceMatches(one, host, port))?.text ?? null;
  }
}

/** What the audit and `policy check` call it; secrets have UUIDs. */
export function certificateId(resource: string): string {
  return `client-certificate:${resource}`;
}
