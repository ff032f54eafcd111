// What a destination says of its own certificate in the handshake: an OCSP answer (RFC 6960) that it
// staples (RFC 6066 section 8), and whether the certificate promises one (RFC 7633). Nobody is asked.
import { verify, X509Certificate } from 'node:crypto';
import forge from 'node-forge';
import { OCSP_BYTES_MAX, OCSP_SKEW_MS } from '../base/limits.ts';
import { childrenOf, der, extensionOf, parse } from './x509.ts';

type Node = forge.asn1.Asn1;

/** BasicOCSPResponse of RFC 6960 section 4.2.1, and of its single responses those about one certificate. */
type Answer = { readonly basic: Node; readonly singles: readonly Node[] };

const TLS_FEATURE = '1.3.6.1.5.5.7.1.24';
const STATUS_REQUEST = '05'; // RFC 7633 section 6: the number of the TLS extension.
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';
const GOOD = 0; // Tags of CertStatus; 2 is unknown.
const REVOKED = 1;
const DIGESTS: Readonly<Record<string, string>> = {
  '1.2.840.10045.4.3.2': 'sha256', // ECDSA
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.2.840.113549.1.1.11': 'sha256', // RSA
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
};

/**
 * What speaks against a certificate that verified.
 *
 * One that is said to be revoked is refused, whoever signed that: only the destination can have sent it.
 * A good word is asked for where the certificate promises one, and then must be the issuer's and fresh.
 *
 * @param staple   null: none came.
 * @param issuers  among whom its issuer is; asked only when a signature is to be verified.
 * @returns a word for the reason, or null when nothing does.
 */
export function statusFault(
  leaf: X509Certificate,
  staple: Buffer | null,
  issuers: () => readonly X509Certificate[],
  nowMs: number,
): string | null {
  const answer = staple === null ? null : readable(() => answerIn(staple, leaf.serialNumber));
  const says = (status: number): boolean =>
    answer?.singles.some((one) => statusOf(one) === status) ?? false;
  if (says(REVOKED)) return 'CERT_REVOKED';
  if (readable(() => promisesStaple(leaf)) === false) return null;
  if (staple === null) return 'CERT_STATUS_MISSING';
  if (answer === null || !says(GOOD)) return 'CERT_STATUS_NOT_GOOD';
  if (!answer.singles.every((one) => readable(() => isFresh(one, nowMs)))) {
    return 'CERT_STATUS_EXPIRED';
  }
  const issuer = issuers().find((one) => leaf.checkIssued(one) && leaf.verify(one.publicKey));
  const signed = issuer !== undefined && readable(() => isSignedFor(answer, issuer, nowMs));
  return signed ? null : 'CERT_STATUS_SIGNATURE';
}

function promisesStaple(leaf: X509Certificate): boolean {
  const features = extensionOf(leaf, TLS_FEATURE);
  if (features === null) return false;
  return childrenOf(parse(features)).some((one) => bytesOf(one).toString('hex') === STATUS_REQUEST);
}

/** Nothing of a staple can be counted on before it is read. */
function readable<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

function answerIn(staple: Buffer, serialNumber: string): Answer {
  if (staple.length > OCSP_BYTES_MAX) throw malformed();
  const [, responseBytes] = childrenOf(parse(staple)); // Without a second part it tells of a failure.
  const [, content] = childrenOf(childrenOf(responseBytes)[0]);
  const basic = parse(bytesOf(content));
  // version [0] may stand first; then responder [1] or [2], time, responses, and perhaps extensions [1].
  const responses = childrenOf(childrenOf(basic)[0]).find(isSequence);
  const singles = childrenOf(responses).filter((one) => serialOf(one) === serialNumber);
  return { basic, singles };
}

function isSequence({ tagClass, type }: Node): boolean {
  return tagClass === forge.asn1.Class.UNIVERSAL && type === forge.asn1.Type.SEQUENCE;
}

/** Of the certificate that a single response is about, as Node writes it. */
function serialOf(single: Node): string {
  const hex = bytesOf(childrenOf(childrenOf(single)[0])[3]).toString('hex');
  return hex.replace(/^(?:00)+(?=..)/, '').toUpperCase();
}

function statusOf(single: Node): number | undefined {
  return childrenOf(single)[1]?.type;
}

/** One that does not say until when it holds is for once, and may be of any age. */
function isFresh(single: Node, nowMs: number): boolean {
  const [, , from, until] = childrenOf(single);
  if (until?.tagClass !== forge.asn1.Class.CONTEXT_SPECIFIC || Number(until.type) !== 0)
    return false;
  return timeOf(from) <= nowMs + OCSP_SKEW_MS && timeOf(childrenOf(until)[0]) >= nowMs;
}

/** By the issuer itself, or by whom it made a certificate for just that (RFC 6960 section 4.2.2.2). */
function isSignedFor({ basic }: Answer, issuer: X509Certificate, nowMs: number): boolean {
  const [data, algorithm, signature, certificates] = childrenOf(basic);
  const oid = forge.asn1.derToOid(bytesOf(childrenOf(algorithm)[0]).toString('binary'));
  const digest = DIGESTS[oid];
  if (data === undefined || digest === undefined) return false;
  const delegates = childrenOf(childrenOf(certificates)[0])
    .map((one) => new X509Certificate(der(one)))
    .filter((one) => isDelegate(one, issuer, nowMs));
  return [issuer, ...delegates].some(({ publicKey }) =>
    verify(digest, der(data), publicKey, bitsOf(signature)),
  );
}

function isDelegate(one: X509Certificate, issuer: X509Certificate, nowMs: number): boolean {
  const usage: readonly string[] | undefined = one.keyUsage; // Node's name for extKeyUsage.
  return (
    usage?.includes(OCSP_SIGNING) === true &&
    one.validFromDate.getTime() <= nowMs &&
    one.validToDate.getTime() >= nowMs &&
    one.checkIssued(issuer) &&
    one.verify(issuer.publicKey)
  );
}

function timeOf(part: Node | undefined): number {
  return forge.asn1.generalizedTimeToDate(bytesOf(part).toString('latin1')).getTime();
}

/** @throws for what holds other parts, or is not there */
function bytesOf(part: Node | undefined): Buffer {
  if (typeof part?.value !== 'string') throw malformed();
  return Buffer.from(part.value, 'binary');
}

/** A BIT STRING of whole bytes; forge looks inside those that could be DER, and keeps what it was. */
function bitsOf(part: (Node & { bitStringContents?: string }) | undefined): Buffer {
  const text = part?.bitStringContents ?? part?.value;
  if (typeof text !== 'string') throw malformed();
  return Buffer.from(text, 'binary').subarray(1);
}

function malformed(): TypeError {
  return new TypeError('not as RFC 6960 has it');
}
