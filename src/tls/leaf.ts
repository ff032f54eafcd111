// Leaf certificates: one host each, short-lived, all on one key of this thread.
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { LEAF_LIFE_MS } from '../base/limits.ts';
import { type Address, addressBytes, isAddress } from '../policy/address.ts';
import type { AuthorityMaterial } from './authority.ts';
import {
  buildCertificate,
  extensions,
  issuerKeyIdentifier,
  keyIdentifier,
  nameOf,
  subjectOf,
} from './x509.ts';

export type Leaf = {
  /** PEM, with the chain behind it. */
  readonly certificatePem: string;
  /** PKCS#8, PEM. */
  readonly keyPem: string;
  readonly notAfterMs: number;
};

const CLOCK_SKEW_MS = 3_600_000;

export class LeafMinter {
  readonly #authority: AuthorityMaterial;
  readonly #signer;
  readonly #issuer;
  readonly #issuerEndsMs: number;
  readonly #key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  readonly #keyPem = this.#key.export({ type: 'pkcs8', format: 'pem' }).toString();
  readonly #common;

  constructor(authority: AuthorityMaterial) {
    const certificate = new X509Certificate(authority.certificatePem);
    this.#authority = authority;
    this.#signer = createPrivateKey(authority.keyPem);
    this.#issuer = subjectOf(certificate);
    this.#issuerEndsMs = certificate.validToDate.getTime();
    this.#common = [
      extensions.endEntity(),
      extensions.handshakes(),
      extensions.serverAuth(),
      extensions.subjectKey(keyIdentifier(this.#key)),
      extensions.authorityKey(issuerKeyIdentifier(certificate)),
    ];
  }

  /** @param host  a name or a canonical address; the only one that the certificate is for. */
  mint(host: string, nowMs: number): Leaf {
    const notAfterMs = Math.min(nowMs + LEAF_LIFE_MS, this.#issuerEndsMs);
    const subject = nameOf(host);
    const isUnnamed = (subject.value as unknown[]).length === 0;
    const name = isAddress(host) ? addressBytes(host as Address) : host;
    const certificatePem = buildCertificate({
      issuer: this.#issuer,
      subject,
      notBeforeMs: nowMs - CLOCK_SKEW_MS,
      notAfterMs,
      key: this.#key,
      signer: this.#signer,
      // RFC 5280 section 4.1.2.6: critical when the subject is empty.
      extensions: [...this.#common, extensions.alternative([name], isUnnamed)],
    });
    return {
      certificatePem: certificatePem + this.#authority.chainPem,
      keyPem: this.#keyPem,
      notAfterMs,
    };
  }
}
