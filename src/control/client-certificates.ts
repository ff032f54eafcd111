// The client certificates that the command line names: read, and checked as far as that can be done
// before a destination asks for one. Every fault and every doubt is told with its place.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { SallyportError } from '../base/errors.ts';
import {
  CLIENT_CERTIFICATE_FILE_BYTES_MAX,
  CLIENT_CERTIFICATE_SOON_MS,
  CLIENT_CERTIFICATES_MAX,
} from '../base/limits.ts';
import type { ClientCertificate } from '../credentials/client-certificate.ts';
import { resourceMatches } from '../policy/reference.ts';
import { parseResources, type Resource } from '../policy/resource.ts';
import { contentIn } from './named-file.ts';

export type ReadCertificates = {
  readonly certificates: readonly ClientCertificate[];
  /** What works, but should not stay so. */
  readonly warnings: readonly string[];
};

const FORM = 'write HOST=CERTIFICATE.pem,KEY.pem, or HOST=BOTH.pem';
const CLIENT_AUTHENTICATION = '1.3.6.1.5.5.7.3.2'; // RFC 5280 section 4.2.1.12.
const ANY_USAGE = '2.5.29.37.0';
const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Reads what `--client-cert` was given.
 *
 * @param given   `api.example.com=cert.pem,key.pem`; the host in the grammar of rules.
 * @param bypass  resources that are never intercepted, so that none could be presented to them.
 * @throws SALLYPORT_USAGE naming every fault.
 */
export function readClientCertificates(
  given: readonly string[],
  bypass: readonly string[],
  nowMs: number,
): ReadCertificates {
  const warnings: string[] = [];
  const faults: string[] = [];
  const certificates: ClientCertificate[] = [];
  const bypassed = bypass.flatMap((one) => parseResources(one));
  for (const text of given.slice(0, CLIENT_CERTIFICATES_MAX)) {
    const place = `--client-cert ${text}`;
    try {
      const found = readOne(text, bypassed, nowMs);
      warnings.push(...found.warnings.map((warning) => `${place}: ${warning}`));
      if (certificates.some(({ resource }) => resource === found.certificate.resource)) {
        throw fault(`there is one for ${found.certificate.resource} already`);
      }
      certificates.push(found.certificate);
    } catch (error) {
      if (!(error instanceof SallyportError)) throw error;
      faults.push(`${place}: ${error.message}`);
    }
  }
  if (given.length > CLIENT_CERTIFICATES_MAX) {
    faults.push(`--client-cert: ${given.length} are given, at most ${CLIENT_CERTIFICATES_MAX} fit`);
  }
  if (faults.length > 0) throw fault(faults.join('; '));
  return { certificates, warnings };
}

/** The files that an option names, for who must make their paths absolute. */
export function splitClientCertificate(text: string): { host: string; files: readonly string[] } {
  const at = text.indexOf('=');
  const host = at < 0 ? '' : text.slice(0, at);
  return { host, files: at < 0 ? [] : text.slice(at + 1).split(',') };
}

type One = { readonly certificate: ClientCertificate; readonly warnings: readonly string[] };

function readOne(text: string, bypassed: readonly Resource[], nowMs: number): One {
  const { host, files } = splitClientCertificate(text);
  const [certificateFile = '', keyFile = certificateFile, ...more] = files;
  if (host === '' || certificateFile === '' || keyFile === '' || more.length > 0) throw fault(FORM);
  const resource = resourceOf(host, bypassed);
  const chain = chainIn(certificateFile);
  const key = keyIn(keyFile);
  const [leaf] = chain;
  if (leaf === undefined) throw fault(`${certificateFile} holds no certificate (PEM)`);
  if (!leaf.checkPrivateKey(key)) {
    throw fault(`the key in ${keyFile} is not that of the certificate in ${certificateFile}`);
  }
  checkTime(leaf, certificateFile, nowMs);
  const certificate = {
    resource: resource.text,
    chain: chain.map((one) => one.toString()).join(''),
    key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
  checkUsable(certificate, certificateFile);
  return { certificate, warnings: doubtsOf(leaf, certificateFile, nowMs) };
}

function resourceOf(text: string, bypassed: readonly Resource[]): Resource {
  const [resource, ...more] = parseResources(text);
  if (resource === undefined || more.length > 0) throw fault(FORM);
  if (resource.kind === 'any' || (resource.kind === 'cidr' && !isAddress(resource))) {
    throw fault(`${resource.text} is too wide for a certificate; name its hosts`);
  }
  const never = bypassed.find((one) => one.text === resource.text || coversHost(one, resource));
  if (never !== undefined) {
    throw fault(`--bypass ${never.text} keeps the proxy from ever presenting it`);
  }
  return resource;
}

function isAddress({ bytes, prefixLength }: Extract<Resource, { kind: 'cidr' }>): boolean {
  return prefixLength === bytes.length * 8;
}

/** Whether one resource has all of a host that the other names exactly; of wildcards it cannot be told. */
function coversHost(wide: Resource, exact: Resource): boolean {
  if (exact.kind !== 'host' || exact.prefix !== 'none') return false;
  const host = exact.labels.join('.');
  if (/[*?[]/.test(host)) return false;
  const port = exact.port === 0 ? wide.port : exact.port;
  return (exact.port !== 0 || wide.port === 0) && resourceMatches(wide, host, port);
}

function textIn(file: string, secret?: 'key'): string {
  const bytesMax = CLIENT_CERTIFICATE_FILE_BYTES_MAX;
  const limits = { bytesMax, fault, ...(secret !== undefined && { secret }) };
  return contentIn(file, limits).toString('latin1');
}

function chainIn(file: string): X509Certificate[] {
  const blocks = textIn(file).match(BLOCK) ?? [];
  return blocks.map((pem, index) => {
    try {
      return new X509Certificate(pem);
    } catch (cause) {
      throw fault(`certificate ${index + 1} in ${file} cannot be read`, cause);
    }
  });
}

function keyIn(file: string): KeyObject {
  const text = textIn(file, 'key');
  if (/ENCRYPTED/.test(text)) {
    throw fault(`the key in ${file} is encrypted, and nobody is there to ask for its passphrase`);
  }
  try {
    return createPrivateKey(text);
  } catch (cause) {
    throw fault(`${file} holds no private key (PEM)`, cause);
  }
}

function checkTime(leaf: X509Certificate, file: string, nowMs: number): void {
  if (leaf.validFromDate.getTime() > nowMs) {
    throw fault(`the certificate in ${file} is not valid before ${leaf.validFrom}`);
  }
  if (leaf.validToDate.getTime() <= nowMs) {
    throw fault(`the certificate in ${file} has expired: ${leaf.validTo}`);
  }
}

/** What OpenSSL would not take when a destination asks, such as an RSA key of 1024 bits. */
function checkUsable({ chain, key }: ClientCertificate, file: string): void {
  try {
    createSecureContext({ cert: chain, key });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'it fails';
    throw fault(`the certificate in ${file} cannot be used: ${why}`, cause);
  }
}

function doubtsOf(leaf: X509Certificate, certificateFile: string, nowMs: number): string[] {
  const doubts: string[] = [];
  if (leaf.validToDate.getTime() - nowMs < CLIENT_CERTIFICATE_SOON_MS) {
    doubts.push(`the certificate in ${certificateFile} expires soon: ${leaf.validTo}`);
  }
  const usage: readonly string[] | undefined = leaf.keyUsage; // Node's name for extKeyUsage.
  if (
    usage !== undefined &&
    !usage.some((one) => one === CLIENT_AUTHENTICATION || one === ANY_USAGE)
  ) {
    doubts.push(`the certificate in ${certificateFile} is not for clients (extKeyUsage)`);
  }
  return doubts;
}

function fault(message: string, cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message, { cause });
}
