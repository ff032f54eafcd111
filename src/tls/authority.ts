// The certificate authority that intercepted hosts are signed by, as material: made, taken over from
// an organisation, described. Where it is kept is control/authority.ts's to know.
import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import forge from 'node-forge';
import { SallyportError } from '../base/errors.ts';
import { AUTHORITY_LIFE_MS, AUTHORITY_RENEWAL_MS } from '../base/limits.ts';
import { buildCertificate, extensions, keyIdentifier, nameOf } from './x509.ts';

export type AuthorityMaterial = {
  /** PEM of the certificate that leaves are issued under. */
  readonly certificatePem: string;
  /** PEM to send behind a leaf, issuer first; '' when clients trust the issuer itself. */
  readonly chainPem: string;
  /** PEM that clients are given to trust. */
  readonly trustPem: string;
  /** PKCS#8, PEM. */
  readonly keyPem: string;
};

export type AuthorityDescription = {
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  /** RFC 3339. */
  readonly not_before: string;
  readonly not_after: string;
  readonly fingerprint_sha256: string;
  readonly key: string;
};

const CLOCK_SKEW_MS = 3_600_000; // Sandboxes whose clock is behind must not find it in the future.
const ORGANIZATION = 'Sallyport';
const RSA_BITS_MIN = 2_048;
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/**
 * Makes an authority of our own: P-256, self-signed, no authority below it.
 *
 * @param permitted  domains that it is good for (RFC 5280 section 4.2.1.10); absent: any.
 */
export function createAuthority(wanted: {
  readonly name: string;
  readonly nowMs: number;
  readonly permitted?: readonly string[];
}): AuthorityMaterial {
  const { name, nowMs, permitted = [] } = wanted;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const subject = nameOf(name, ORGANIZATION);
  const id = keyIdentifier(privateKey);
  const certificatePem = buildCertificate({
    issuer: subject,
    subject,
    notBeforeMs: nowMs - CLOCK_SKEW_MS,
    notAfterMs: nowMs + AUTHORITY_LIFE_MS,
    key: privateKey,
    signer: privateKey,
    extensions: [
      extensions.authority(),
      extensions.signing(),
      extensions.subjectKey(id),
      extensions.authorityKey(id),
      ...(permitted.length > 0 ? [extensions.permitted(permitted)] : []),
    ],
  });
  return { certificatePem, chainPem: '', trustPem: certificatePem, keyPem: pkcs8(privateKey) };
}

/**
 * Takes over an authority from PEM (certificates and key in any order) or PKCS#12.
 *
 * @throws SALLYPORT_AUTHORITY_INVALID naming every fault
 */
export function importAuthority(
  content: Buffer,
  passphrase: string | null,
  nowMs: number,
): AuthorityMaterial {
  const { certificates, key } = content.includes('-----BEGIN')
    ? readPem(content.toString('latin1'), passphrase)
    : readPkcs12(content, passphrase);
  const own = certificates.find((certificate) => certificate.checkPrivateKey(key));
  if (own === undefined) throw invalid(['no certificate in it belongs to the key']);
  const faults = faultsOf(own, key, nowMs);
  if (faults.length > 0) throw invalid(faults);
  const chain = chainOf(own, certificates);
  const sent = chain.filter((certificate) => !isSelfSigned(certificate));
  return {
    certificatePem: pemOf([own]),
    chainPem: pemOf(sent),
    trustPem: pemOf(chain.slice(-1)),
    keyPem: pkcs8(key),
  };
}

/** What people are told of it; nothing of its key but the kind. */
export function describeAuthority({ certificatePem }: AuthorityMaterial): AuthorityDescription {
  const certificate = new X509Certificate(certificatePem);
  const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey;
  const detail = asymmetricKeyDetails?.namedCurve ?? asymmetricKeyDetails?.modulusLength ?? '';
  return {
    subject: certificate.subject.replaceAll('\n', ', '),
    issuer: certificate.issuer.replaceAll('\n', ', '),
    serial: certificate.serialNumber,
    not_before: certificate.validFromDate.toISOString(),
    not_after: certificate.validToDate.toISOString(),
    fingerprint_sha256: certificate.fingerprint256,
    key: `${asymmetricKeyType} ${detail}`.trim(),
  };
}

/** Whether `createAuthority` made it, of this instance or another. */
export function isMadeHere({ subject }: X509Certificate): boolean {
  return subject.startsWith(`O=${ORGANIZATION}\n`);
}

/** Whether it ends so soon that clients should be given the next one. */
export function needsRenewal({ certificatePem }: AuthorityMaterial, nowMs: number): boolean {
  const { validToDate } = new X509Certificate(certificatePem);
  return validToDate.getTime() - nowMs < AUTHORITY_RENEWAL_MS;
}

/** pem and der: what clients trust; bundle: that and the chain above the leaves. */
export function exportAuthority(
  { certificatePem, chainPem, trustPem }: AuthorityMaterial,
  format: 'pem' | 'der' | 'bundle',
): Buffer {
  if (format === 'der') return new X509Certificate(trustPem).raw;
  if (format === 'pem') return Buffer.from(trustPem);
  const all = [...pemBlocks(certificatePem), ...pemBlocks(chainPem), ...pemBlocks(trustPem)];
  return Buffer.from(`${[...new Set(all)].join('\n')}\n`);
}

type Parts = { readonly certificates: readonly X509Certificate[]; readonly key: KeyObject };

function readPem(text: string, passphrase: string | null): Parts {
  const certificates = pemBlocks(text).map(readCertificate);
  const found =
    /-----BEGIN ((?:RSA |EC |ENCRYPTED )?PRIVATE KEY)-----[\s\S]+?-----END \1-----/.exec(text);
  if (certificates.length === 0) throw invalid(['there is no certificate in it']);
  if (found === null) throw invalid(['there is no private key in it']);
  try {
    const key = createPrivateKey({ key: found[0], ...(passphrase !== null && { passphrase }) });
    return { certificates, key };
  } catch (cause) {
    throw invalid(['the private key cannot be read; is the passphrase right?'], cause);
  }
}

/** Each certificate in a text, as it stands there. */
export function pemBlocks(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}

function readCertificate(content: string | Buffer): X509Certificate {
  try {
    return new X509Certificate(content);
  } catch (cause) {
    throw invalid(['a certificate in it cannot be read'], cause);
  }
}

/** node-forge opens the container; what is inside, elliptic curves above all, is node:crypto's to read. */
function readPkcs12(content: Buffer, passphrase: string | null): Parts {
  const { asn1, pkcs12, pki } = forge;
  const { certBag = '', keyBag = '', pkcs8ShroudedKeyBag = '' } = pki.oids;
  try {
    const store = pkcs12.pkcs12FromAsn1(asn1.fromDer(content.toString('binary')), passphrase ?? '');
    const bags = (type: string): Buffer[] =>
      (store.getBags({ bagType: type })[type] ?? []).flatMap((bag) => derOf(bag) ?? []);
    const [key] = [...bags(pkcs8ShroudedKeyBag), ...bags(keyBag)];
    if (key === undefined) throw invalid(['there is no private key in it']);
    const certificates = bags(certBag).map(readCertificate);
    return { certificates, key: createPrivateKey({ key, format: 'der', type: 'pkcs8' }) };
  } catch (cause) {
    if (cause instanceof SallyportError) throw cause;
    throw invalid(['it is neither PEM nor a PKCS#12 that this passphrase opens'], cause);
  }
}

/** @returns null for a bag of something else */
function derOf(bag: forge.pkcs12.Bag): Buffer | null {
  const { asn1, pki } = forge;
  let part = (bag as { asn1?: forge.asn1.Asn1 }).asn1 ?? null;
  if (bag.cert) part = pki.certificateToAsn1(bag.cert);
  else if (bag.key) part = pki.wrapRsaPrivateKey(pki.privateKeyToAsn1(bag.key));
  return part === null ? null : Buffer.from(asn1.toDer(part).getBytes(), 'binary');
}

function faultsOf(own: X509Certificate, key: KeyObject, nowMs: number): string[] {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  const isRsa = key.asymmetricKeyType === 'rsa';
  const isStrong = isRsa ? modulusLength >= RSA_BITS_MIN : CURVES.has(namedCurve);
  const checks: [boolean, string][] = [
    [own.ca, 'its certificate is no CA certificate (basicConstraints)'],
    [own.validToDate.getTime() > nowMs, `it has expired: ${own.validTo}`],
    [own.validFromDate.getTime() <= nowMs, `it is not valid yet: ${own.validFrom}`],
    [isStrong, 'its key must be RSA of 2048 bits or more, or EC P-256, P-384 or P-521'],
  ];
  return checks.flatMap(([holds, fault]) => (holds ? [] : [fault]));
}

/** From the issuer of the leaves up, as far as the certificates that were given go. */
function chainOf(own: X509Certificate, all: readonly X509Certificate[]): X509Certificate[] {
  const chain = [own];
  for (let last = own; !isSelfSigned(last); ) {
    const next = all.find((one) => !chain.includes(one) && last.checkIssued(one));
    if (next === undefined) break;
    chain.push(next);
    last = next;
  }
  return chain;
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate);
}

function pemOf(certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => certificate.toString()).join('');
}

function pkcs8(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function invalid(faults: readonly string[], cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_AUTHORITY_INVALID', faults.join('; '), { cause });
}
