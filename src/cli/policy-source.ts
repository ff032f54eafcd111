// Where the tools that write policy get one from: a file, stdin, or the daemon.
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { SallyportError } from '../base/errors.ts';
import { DOCUMENT_BYTES_MAX } from '../base/limits.ts';
import type { ControlClient } from '../control/api/client.ts';
import type { SetupStatus } from '../control/api/schemas.ts';
import { documentOfListing } from '../control/policy/listed-document.ts';
import {
  type ListedFacts,
  type ListedRule,
  rulesOfListing,
} from '../control/policy/listed-rules.ts';
import { documentRules, type PolicyDocument, type ScopeTable } from '../documents/document.ts';
import { readDocument } from '../documents/read.ts';
import type { Rule } from '../policy/rule.ts';
import type { Context } from './context.ts';

/** @param path  `-` is stdin @throws SALLYPORT_USAGE, SALLYPORT_POLICY_TOO_LARGE */
export async function readText({ stdin }: Context, path: string): Promise<string> {
  const bytes = path === '-' ? await piped(stdin) : fileOf(path);
  if (Buffer.byteLength(bytes) <= DOCUMENT_BYTES_MAX) return bytes;
  throw tooLarge(path);
}

/** @throws what reading throws, SALLYPORT_POLICY_INVALID with the place of every fault */
export async function readPolicyFile(context: Context, path: string): Promise<PolicyDocument> {
  return readDocument(await readText(context, path), path === '-' ? 'stdin' : path);
}

/** The rules of a file alone. */
export async function fileRules(
  context: Context,
  path: string,
  scopes: ScopeTable,
): Promise<readonly Rule[]> {
  return documentRules(await readPolicyFile(context, path), scopes);
}

/**
 * All rules, those of kits and organisations too.
 *
 * @param inactive  also those that do not count at present.
 */
export async function runningRules(
  client: ControlClient,
  scopes: ScopeTable,
  inactive = false,
): Promise<readonly ListedRule[]> {
  const { rules } = await client.get<{ rules: readonly ListedFacts[] }>('/policy/network/rules', {
    include_inactive: String(inactive),
  });
  return rulesOfListing(rules, scopes);
}

/** The local policy, as a file would say it: without rules that end by themselves. */
export async function runningDocument(client: ControlClient): Promise<PolicyDocument> {
  const { preset } = await client.get<SetupStatus>('/policy/setup');
  const query = { type: 'all', include_inactive: 'true' };
  const { rules } = await client.get<{ rules: readonly ListedFacts[] }>(
    '/policy/network/rules',
    query,
  );
  return documentOfListing(preset, rules);
}

/** @throws SALLYPORT_USAGE */
export function writeText(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw new SallyportError('SALLYPORT_USAGE', `cannot write ${file}: ${why}`, { cause });
  }
}

async function piped(stdin: Context['stdin']): Promise<string> {
  if (stdin !== null) return stdin(DOCUMENT_BYTES_MAX);
  throw new SallyportError('SALLYPORT_USAGE', 'stdin is a terminal; name a file, or pipe one in');
}

function fileOf(path: string): string {
  try {
    if (statSync(path).size > DOCUMENT_BYTES_MAX) throw tooLarge(path);
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof SallyportError) throw cause;
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw new SallyportError('SALLYPORT_USAGE', `cannot read ${path}: ${why}`, { cause });
  }
}

function tooLarge(path: string): SallyportError {
  const message = `${path} has more than ${DOCUMENT_BYTES_MAX} bytes`;
  return new SallyportError('SALLYPORT_POLICY_TOO_LARGE', message);
}
