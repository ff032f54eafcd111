// A trust store for Java: certificates in PKCS#12 (RFC 7292), without a key and without encryption.
// node-forge writes the container but not the attribute without which Java trusts nothing in it.
import { createHash, createHmac, X509Certificate } from 'node:crypto';
import forge from 'node-forge';
import { der, node, octets, oidOf, sequence, tagged } from './x509.ts';

/** What Java's own stores have; it keeps nothing from anybody, since there is nothing to keep. */
export const TRUST_STORE_PASSWORD = 'changeit';

const OIDS = {
  data: '1.2.840.113549.1.7.1',
  certBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  trustedKeyUsage: '2.16.840.1.113894.746875.1.1', // Oracle's; JDK-7154035.
  anyExtendedKeyUsage: '2.5.29.37.0',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const;

const MAC_ITERATIONS = 10_000; // What keytool of JDK 17 writes; JDK 8 reads up to 5,000,000.
const MAC_KEY = 3; // RFC 7292 appendix B.3.
const SHA256_BYTES = 32;

type Node = forge.asn1.Asn1;
const { Type } = forge.asn1;

/**
 * @param certificates  PEM, each of one certificate that can be read
 * @returns the same bytes for the same certificates
 */
export function javaTrustStore(certificates: readonly string[]): Buffer {
  const bags = certificates.map((pem) => bagOf(new X509Certificate(pem)));
  const content = der(sequence(dataOf(der(sequence(...bags)))));
  // The salt keeps nothing secret here, and a store that stays the same need not be written again.
  const salt = createHash('sha256').update(content).digest().subarray(0, 20);
  return der(
    sequence(node(Type.INTEGER, '\x03'), dataOf(content), macOf(content, salt)), // Section 4.
  );
}

/** ContentInfo of the type data, section 3. */
function dataOf(bytes: Buffer): Node {
  return sequence(oidOf(OIDS.data), tagged(0, [octets(bytes)]));
}

/** CertBag, section 4.2.3. */
function bagOf({ raw, fingerprint256 }: X509Certificate): Node {
  const name = fingerprint256.replaceAll(':', '').toLowerCase();
  return sequence(
    oidOf(OIDS.certBag),
    tagged(0, [sequence(oidOf(OIDS.x509Certificate), tagged(0, [octets(raw)]))]),
    node(Type.SET, [
      attribute(OIDS.friendlyName, node(Type.BMPSTRING, name)),
      attribute(OIDS.trustedKeyUsage, oidOf(OIDS.anyExtendedKeyUsage)),
    ]),
  );
}

function attribute(oid: string, value: Node): Node {
  return sequence(oidOf(oid), node(Type.SET, [value]));
}

/** MacData, section 4: it shows damage, and some readers want one. */
function macOf(content: Buffer, salt: Buffer): Node {
  const key = forge.pkcs12.generateKey(
    TRUST_STORE_PASSWORD,
    forge.util.createBuffer(salt.toString('binary')),
    MAC_KEY,
    MAC_ITERATIONS,
    SHA256_BYTES,
    forge.md.sha256.create(),
  );
  const mac = createHmac('sha256', Buffer.from(key.getBytes(), 'binary')).update(content).digest();
  const iterations = forge.asn1.integerToDer(MAC_ITERATIONS).getBytes();
  return sequence(
    sequence(sequence(oidOf(OIDS.sha256), node(Type.NULL, '')), octets(mac)),
    octets(salt),
    node(Type.INTEGER, iterations),
  );
}
