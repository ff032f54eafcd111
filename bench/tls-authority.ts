// Certificate authorities of the bench: one that the origin's certificate is under, and those that
// peers sign with.
import { generateKeyPairSync } from 'node:crypto';
import type { AuthorityMaterial } from '../src/tls/authority.ts';
import { buildCertificate, extensions, keyIdentifier, nameOf } from '../src/tls/x509.ts';

const HOUR_MS = 3_600_000;

/** @param kind  of its key: P-256, or RSA of 2048 bits, which takes some 100 ms. */
export function benchAuthority(name: string, kind: 'ec' | 'rsa'): AuthorityMaterial {
  const { privateKey } =
    kind === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const subject = nameOf(name, 'Bench');
  const id = keyIdentifier(privateKey);
  const now = Date.now();
  const certificatePem = buildCertificate({
    issuer: subject,
    subject,
    notBeforeMs: now - HOUR_MS,
    notAfterMs: now + 24 * HOUR_MS,
    key: privateKey,
    signer: privateKey,
    extensions: [
      extensions.authority(),
      extensions.signing(),
      extensions.subjectKey(id),
      extensions.authorityKey(id),
    ],
  });
  const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { certificatePem, chainPem: '', trustPem: certificatePem, keyPem };
}
