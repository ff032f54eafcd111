// OCSP answers as responders give them, made by openssl and not by the code under test.

import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Issued, TestAuthority } from './certificates.ts';

/** What responders say of a certificate. */
export type Status = 'good' | 'revoked' | 'unknown';

type More = {
  /** Who signs; the authority itself unless given. */
  readonly signer?: Issued;
  /** How long it holds; null: it does not say. */
  readonly days?: number | null;
  /** Further options of `openssl ocsp`. */
  readonly options?: readonly string[];
};

/** @returns an OCSPResponse (RFC 6960) about a certificate that the authority issued. */
export function ocspAnswer(
  authority: Pick<TestAuthority, 'pem' | 'keyPem'>,
  { cert }: Pick<Issued, 'cert'>,
  status: Status,
  { signer, days = 1, options = [] }: More = {},
): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-ocsp-'));
  const file = (name: string, content: string): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const serial = new X509Certificate(cert).serialNumber;
  const lines = {
    good: `V\t350101000000Z\t\t${serial}\tunknown\t/CN=x\n`,
    revoked: `R\t350101000000Z\t250101000000Z\t${serial}\tunknown\t/CN=x\n`,
    unknown: '',
  };
  const ca = file('ca.pem', authority.pem);
  const by = ['-rsigner', signer === undefined ? ca : file('signer.pem', signer.cert)];
  const key = ['-rkey', file('signer.key', signer?.key ?? authority.keyPem)];
  const about = ['-index', file('index', lines[status]), '-CA', ca, '-issuer', ca];
  const until = days === null ? [] : ['-ndays', String(days)];
  const answer = join(folder, 'answer');
  const made = ['-cert', file('cert.pem', cert), '-respout', answer, '-noverify', ...options];
  execFileSync('openssl', ['ocsp', ...about, ...by, ...key, ...until, ...made], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return readFileSync(answer);
}
