// Signs what an organisation says without a server: control/governance/file.ts reads it. What daemons
// would not take is not signed.
import { type KeyObject, sign } from 'node:crypto';
import { readdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ed25519PrivateKey } from '../base/ed25519.ts';
import { SallyportError } from '../base/errors.ts';
import { GOVERNANCE_DOCUMENT_BYTES_MAX, GOVERNANCE_POLICY_BYTES_MAX } from '../base/limits.ts';
import { contentOf } from '../control/governance/content.ts';
import {
  DOCUMENT_NAME,
  documentAt,
  documentIn,
  FILE_NAME,
  policiesIn,
  sha256,
} from '../control/governance/file.ts';
import { rulesOf } from '../control/governance/source.ts';

export type Signed = {
  readonly file: string;
  readonly organization: string;
  readonly serial: number;
  readonly policies: number;
};

/**
 * Signs a document. In a folder, the files beside it are named in it with their hashes first.
 *
 * @param privateKeyPem  Ed25519, PKCS#8.
 * @throws SALLYPORT_USAGE for a key that is none, SALLYPORT_GOVERNANCE_FAILED and
 *   SALLYPORT_POLICY_INVALID for what no daemon would take.
 */
export async function signDocument(path: string, privateKeyPem: string): Promise<Signed> {
  const key = privateKey(privateKeyPem);
  const file = await documentAt(path);
  if (file !== path) await nameFiles(file);
  const bytes = await contentOf(file, GOVERNANCE_DOCUMENT_BYTES_MAX);
  const document = documentIn(bytes);
  const policies = await policiesIn(document, dirname(file));
  await rulesOf(policies);
  await replace(`${file}.sig`, `${sign(null, bytes, key).toString('base64')}\n`);
  const { organization, serial } = document;
  return { file, organization, serial, policies: policies.length };
}

/** Writes the hashes of the policies that lie beside a document into it. */
async function nameFiles(file: string): Promise<void> {
  const document = documentIn(await contentOf(file, GOVERNANCE_DOCUMENT_BYTES_MAX));
  const folder = dirname(file);
  const names = (await readdir(folder)).filter(
    (name) => FILE_NAME.test(name) && name !== DOCUMENT_NAME,
  );
  const files: Record<string, string> = {};
  for (const name of names.sort()) {
    files[name] = sha256(await contentOf(join(folder, name), GOVERNANCE_POLICY_BYTES_MAX));
  }
  await replace(file, `${JSON.stringify({ ...document, files }, null, 2)}\n`);
}

/** Whole, or as it was: a daemon may read it at any time. */
async function replace(file: string, text: string): Promise<void> {
  const draft = `${file}.${process.pid}.new`;
  await writeFile(draft, text);
  await rename(draft, file);
}

/** @throws SALLYPORT_USAGE */
function privateKey(pem: string): KeyObject {
  const key = ed25519PrivateKey(pem);
  if (key !== null) return key;
  throw new SallyportError('SALLYPORT_USAGE', 'the key is no Ed25519 private key (PEM)');
}
