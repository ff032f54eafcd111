// X.509 certificates (RFC 5280) out of their parts: ASN.1 by node-forge, keys and signatures by
// node:crypto. node-forge's own certificates know no elliptic curves.
import {
  createHash,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  type X509Certificate,
} from 'node:crypto';
import forge from 'node-forge';

const { asn1 } = forge;
type Node = forge.asn1.Asn1;

const OIDS = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  ecdsaSha256: '1.2.840.10045.4.3.2',
  rsaSha256: '1.2.840.113549.1.1.11',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const;

const { Class, Type } = asn1;
const COMMON_NAME_BYTES_MAX = 64; // RFC 5280 appendix A, ub-common-name.

export function node(type: forge.asn1.Type, value: string | Node[]): Node {
  return asn1.create(Class.UNIVERSAL, type, Array.isArray(value), value as never);
}

export function tagged(tag: number, value: string | Node[]): Node {
  const type = tag as forge.asn1.Type;
  return asn1.create(Class.CONTEXT_SPECIFIC, type, Array.isArray(value), value as never);
}

export const sequence = (...parts: Node[]): Node => node(Type.SEQUENCE, parts);
export const oidOf = (dotted: string): Node => node(Type.OID, asn1.oidToDer(dotted).getBytes());
const oid = (name: keyof typeof OIDS): Node => oidOf(OIDS[name]);
export const octets = (bytes: Buffer): Node => node(Type.OCTETSTRING, bytes.toString('binary'));

export function der(part: Node): Buffer {
  return Buffer.from(asn1.toDer(part).getBytes(), 'binary');
}

/** @throws for what is not DER */
export function parse(bytes: Buffer): Node {
  return asn1.fromDer(bytes.toString('binary'));
}

/** A distinguished name of one common name, or of nothing. */
export function nameOf(commonName: string, organization?: string): Node {
  const attribute = (kind: 'commonName' | 'organization', text: string): Node =>
    node(Type.SET, [sequence(oid(kind), node(Type.UTF8, Buffer.from(text).toString('binary')))]);
  if (commonName === '' || Buffer.byteLength(commonName) > COMMON_NAME_BYTES_MAX) return sequence();
  const parts = organization === undefined ? [] : [attribute('organization', organization)];
  return sequence(...parts, attribute('commonName', commonName));
}

/** The subject of a certificate, byte for byte, as its issuer field must repeat it. */
export function subjectOf(certificate: X509Certificate): Node {
  // version is [0] and explicit; then serial, signature, issuer, validity, subject.
  return tbsOf(certificate)[5] as Node;
}

function tbsOf(certificate: X509Certificate): Node[] {
  return childrenOf(childrenOf(parse(certificate.raw))[0]);
}

export function childrenOf(part: Node | undefined): Node[] {
  return Array.isArray(part?.value) ? part.value : [];
}

/** The content of an extension; null when there is none. */
export function extensionOf(certificate: X509Certificate, dotted: string): Buffer | null {
  const wanted = asn1.oidToDer(dotted).getBytes();
  for (const one of childrenOf(childrenOf(tbsOf(certificate).at(-1))[0])) {
    const [id, ...rest] = childrenOf(one);
    const value = rest.at(-1)?.value;
    if (id?.value === wanted && typeof value === 'string') return Buffer.from(value, 'binary');
  }
  return null;
}

/** What leaves must name their issuer's key by: what it says itself, else what its key gives. */
export function issuerKeyIdentifier(certificate: X509Certificate): Buffer {
  const said = extensionOf(certificate, OIDS.subjectKeyIdentifier);
  const inner = said === null ? null : parse(said).value;
  return typeof inner === 'string'
    ? Buffer.from(inner, 'binary')
    : keyIdentifier(certificate.publicKey);
}

/** RFC 5280 section 4.2.1.2, method 1: SHA-1 of the public key's bits. */
export function keyIdentifier(key: KeyObject): Buffer {
  const spki = parse(publicDer(key));
  const bits = childrenOf(spki)[1] as Node & { bitStringContents?: string };
  const value = bits.bitStringContents ?? (bits.value as string);
  return createHash('sha1').update(Buffer.from(value, 'binary').subarray(1)).digest();
}

function publicDer(key: KeyObject): Buffer {
  const own = key.type === 'public' ? key : createPublicKey(key);
  return own.export({ type: 'spki', format: 'der' });
}

/** An extension of RFC 5280 section 4.2. */
export type Extension = Node;

function extension(name: keyof typeof OIDS, critical: boolean, value: Node): Extension {
  const flag = critical ? [node(Type.BOOLEAN, '\xff')] : [];
  return sequence(oid(name), ...flag, octets(der(value)));
}

export const extensions = {
  /** No authority below this one. */
  authority: (): Extension =>
    extension(
      'basicConstraints',
      true,
      sequence(node(Type.BOOLEAN, '\xff'), node(Type.INTEGER, '\0')),
    ),
  endEntity: (): Extension => extension('basicConstraints', true, sequence()),
  /** keyCertSign and cRLSign. */
  signing: (): Extension => extension('keyUsage', true, node(Type.BITSTRING, '\x01\x06')),
  /** digitalSignature. */
  handshakes: (): Extension => extension('keyUsage', true, node(Type.BITSTRING, '\x07\x80')),
  serverAuth: (): Extension => extension('extendedKeyUsage', false, sequence(oid('serverAuth'))),
  subjectKey: (id: Buffer): Extension => extension('subjectKeyIdentifier', false, octets(id)),
  authorityKey: (id: Buffer): Extension =>
    extension('authorityKeyIdentifier', false, sequence(tagged(0, id.toString('binary')))),
  /** @param names  [2] dNSName as text, [7] iPAddress as 4 or 16 bytes */
  alternative: (names: readonly (string | Uint8Array)[], critical: boolean): Extension =>
    extension('subjectAltName', critical, sequence(...names.map(generalName))),
  /** Only names at and below these. */
  permitted: (domains: readonly string[]): Extension =>
    extension(
      'nameConstraints',
      true,
      sequence(
        tagged(
          0,
          domains.map((domain) => sequence(generalName(domain))),
        ),
      ),
    ),
};

function generalName(name: string | Uint8Array): Node {
  return typeof name === 'string'
    ? tagged(2, name)
    : tagged(7, Buffer.from(name).toString('binary'));
}

export type CertificateParts = {
  readonly issuer: Node;
  readonly subject: Node;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Whose certificate it is. */
  readonly key: KeyObject;
  readonly extensions: readonly Extension[];
  /** The issuer's private key, EC or RSA. */
  readonly signer: KeyObject;
};

/** Makes and signs a certificate, with a random serial of 127 bits (RFC 5280 section 4.1.2.2). @returns PEM */
export function buildCertificate(parts: CertificateParts): string {
  const algorithm =
    parts.signer.asymmetricKeyType === 'ec'
      ? sequence(oid('ecdsaSha256'))
      : sequence(oid('rsaSha256'), node(Type.NULL, ''));
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // Positive, and never shorter.
  const tbs = sequence(
    tagged(0, [node(Type.INTEGER, '\x02')]),
    node(Type.INTEGER, serial.toString('binary')),
    algorithm,
    parts.issuer,
    sequence(time(parts.notBeforeMs), time(parts.notAfterMs)),
    parts.subject,
    parse(publicDer(parts.key)),
    tagged(3, [sequence(...parts.extensions)]),
  );
  const signature = sign('sha256', der(tbs), parts.signer);
  const bits = node(Type.BITSTRING, `\0${signature.toString('binary')}`);
  const whole = der(sequence(tbs, algorithm, bits)).toString('base64');
  const lines = whole.match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** RFC 5280 section 4.1.2.5: UTCTime through 2049, GeneralizedTime after; whole seconds. */
function time(ms: number): Node {
  const date = new Date(ms);
  const digits = date.toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '');
  return date.getUTCFullYear() < 2050
    ? node(Type.UTCTIME, digits.slice(2))
    : node(Type.GENERALIZEDTIME, digits);
}
