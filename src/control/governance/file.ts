// An organisation that speaks by a signed file, for those who have no server. The document lies
// beside its signature (Ed25519, RFC 8032): `organization.json` and `organization.json.sig`, or
// `governance.json` in a folder. It holds the policies, or names their files with the SHA-256 of
// each, so that none can be left out or put back to an older one. Serials only grow.
import { createHash, type KeyObject, verify } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { ed25519PublicKey } from '../../base/ed25519.ts';
import { SallyportError } from '../../base/errors.ts';
import {
  GOVERNANCE_DOCUMENT_BYTES_MAX,
  GOVERNANCE_POLICIES_MAX,
  GOVERNANCE_POLICY_BYTES_MAX,
} from '../../base/limits.ts';
import type { SyncRecord } from '../store.ts';
import { faultsOf, NameText, Settings } from './api.ts';
import { contentOf } from './content.ts';
import { failed, type GovernanceSource, rulesOf, summariesFor, type Word } from './source.ts';

export type FileOptions = {
  /** Absolute; a file, or a folder with DOCUMENT_NAME. */
  readonly path: string;
  /** PEM of public keys; any of them may have signed. */
  readonly keys: readonly string[];
  readonly teams: readonly string[];
  readonly nowMs: () => number;
};

export const DOCUMENT_NAME = 'governance.json';
const SIGNATURE_BYTES = 64; // RFC 8032 section 5.1.6.
const SIGNATURE_FILE_BYTES_MAX = 256; // As it is, or in Base64.
/** Of a file with one policy. */
export const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.json$/;

const Document = Settings.extend({
  version: z.literal(1),
  organization: NameText,
  serial: z.number().int().min(1),
  expires_at: z.iso.datetime({ offset: true }).optional(),
  policies: z.array(z.unknown()).max(GOVERNANCE_POLICIES_MAX).default([]),
  files: z.record(z.string().regex(FILE_NAME), z.string().regex(/^[0-9a-f]{64}$/)).default({}),
});

/** @throws SALLYPORT_USAGE for a key that is no Ed25519 public key, or without any. */
export function governanceFile({ path, keys, teams, nowMs }: FileOptions): GovernanceSource {
  const trusted = keys.map(publicKey);
  if (trusted.length === 0) {
    throw new SallyportError('SALLYPORT_USAGE', 'a governance file needs --governance-key');
  }
  return {
    name: path,
    organization: null,
    async fetch(last) {
      const place = await documentAt(path);
      const bytes = await contentOf(place, GOVERNANCE_DOCUMENT_BYTES_MAX);
      const signature = signatureIn(await contentOf(`${place}.sig`, SIGNATURE_FILE_BYTES_MAX));
      if (!trusted.some((key) => verify(null, bytes, key, signature))) {
        throw failed(`${place} is not signed by a key that is trusted here`);
      }
      const document = documentIn(bytes);
      const digest = sha256(bytes);
      checkSerial(document.serial, digest, last);
      return wordOf(document, { digest, folder: dirname(place), teams, nowMs: nowMs() });
    },
  };
}

/** @returns the policies of a document, its files read and compared. @throws SALLYPORT_GOVERNANCE_FAILED */
export async function policiesIn(
  { policies, files }: z.infer<typeof Document>,
  folder: string,
): Promise<unknown[]> {
  const all = [...policies];
  if (all.length + Object.keys(files).length > GOVERNANCE_POLICIES_MAX) {
    throw failed(`there are more than ${GOVERNANCE_POLICIES_MAX} policies`);
  }
  for (const [name, digest] of Object.entries(files)) {
    const bytes = await contentOf(join(folder, name), GOVERNANCE_POLICY_BYTES_MAX);
    if (sha256(bytes) !== digest) throw failed(`${name} is not the file that was signed`);
    all.push(jsonIn(bytes, name));
  }
  return all;
}

/** @throws SALLYPORT_GOVERNANCE_FAILED */
export function documentIn(bytes: Buffer): z.infer<typeof Document> {
  const read = Document.safeParse(jsonIn(bytes, 'the document'));
  if (read.success) return read.data;
  throw failed(`the document cannot be read: ${faultsOf(read.error)}`);
}

/** @returns the path of the document itself. @throws SALLYPORT_GOVERNANCE_FAILED */
export async function documentAt(path: string): Promise<string> {
  const found = await stat(path).catch((cause: unknown) => {
    throw failed(`${path} cannot be read`, cause);
  });
  return found.isDirectory() ? join(path, DOCUMENT_NAME) : path;
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function wordOf(
  document: z.infer<typeof Document>,
  {
    digest,
    folder,
    teams,
    nowMs,
  }: { digest: string; folder: string; teams: readonly string[]; nowMs: number },
): Promise<Word> {
  const { organization, support_message: supportMessage, delegates, serial } = document;
  const expiresMs = document.expires_at === undefined ? null : Date.parse(document.expires_at);
  if (expiresMs !== null && expiresMs <= nowMs) {
    throw failed(`what the organization said has ended at ${document.expires_at}`);
  }
  const all = await policiesIn(document, folder);
  const ids = new Set(summariesFor(all.map(summaryPart), teams).map(({ id }) => id));
  const rules = await rulesOf(all.filter((one) => ids.has((one as { id: string }).id)));
  return { organization, supportMessage, delegates, ...rules, expiresMs, serial, digest };
}

/** A policy without what a listing leaves out. */
function summaryPart(policy: unknown): unknown {
  if (typeof policy !== 'object' || policy === null) return policy;
  const { allowlist_v0: _, cedar_v1: __, ...summary } = policy as Record<string, unknown>;
  return summary;
}

/** @throws SALLYPORT_GOVERNANCE_FAILED for what is older than what was seen */
function checkSerial(serial: number, digest: string, last: SyncRecord | null): void {
  const seen = last?.serial ?? 0;
  if (serial < seen) throw failed(`its serial ${serial} is older than ${seen}, which was seen`);
  if (serial > seen || digest === last?.digest) return;
  throw failed(`its serial ${serial} was seen with other content; count it up`);
}

/** @throws SALLYPORT_USAGE */
function publicKey(pem: string): KeyObject {
  const key = ed25519PublicKey(pem);
  if (key !== null) return key;
  throw new SallyportError('SALLYPORT_USAGE', '--governance-key holds no Ed25519 public key (PEM)');
}

/** As `openssl pkeyutl` writes it, or in Base64. @throws SALLYPORT_GOVERNANCE_FAILED */
function signatureIn(content: Buffer): Buffer {
  if (content.length === SIGNATURE_BYTES) return content;
  const decoded = Buffer.from(content.toString('latin1').trim(), 'base64');
  if (decoded.length === SIGNATURE_BYTES) return decoded;
  throw failed('the signature file holds no Ed25519 signature');
}

function jsonIn(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw failed(`${what} is no JSON`, cause);
  }
}
