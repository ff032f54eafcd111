// What values of settings must be, beyond their type. The words that a check throws are the fault.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { parseDuration, parseKeep } from '../../base/duration.ts';
import { ed25519PrivateKey } from '../../base/ed25519.ts';
import { SallyportError } from '../../base/errors.ts';
import {
  APPROVAL_WAIT_MS_MAX,
  AUDIT_KEEP_BYTES_MIN,
  DRAIN_TIMEOUT_MS_MAX,
  GOVERNANCE_INTERVAL_MS_MAX,
  GOVERNANCE_INTERVAL_MS_MIN,
  SECRET_FILE_BYTES_MAX,
} from '../../base/limits.ts';
import { parseSize } from '../../base/size.ts';
import { parseResources } from '../../policy/resource.ts';
import { splitClientCertificate } from '../client-certificates.ts';
import { contentIn } from '../named-file.ts';

/** A schema with a check of ours behind it, whose words are the fault. */
export function checked<T>(schema: z.ZodType<T>, check: (value: T) => unknown): z.ZodType<T> {
  return schema.superRefine((value, context) => {
    try {
      check(value);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      context.addIssue({ code: 'custom', message });
    }
  });
}

export function orEmpty(check: (text: string) => unknown): z.ZodType<string> {
  return checked(z.string(), (text) => text === '' || check(text));
}

export function listOf(check: (text: string) => unknown): z.ZodType<readonly string[]> {
  return z.array(checked(z.string(), check));
}

/** @returns milliseconds, at most a day */
export function checkDuration(text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new Error(`"${text}" is no duration such as 500ms, 30s or 2m`);
  if (ms > DRAIN_TIMEOUT_MS_MAX) throw new Error('a day (24h) is the most');
  return ms;
}

export function checkApprovalWait(text: string): void {
  const ms = checkDuration(text);
  if (ms >= 1_000 && ms <= APPROVAL_WAIT_MS_MAX) return;
  throw new Error('write a time from 1s to 5m');
}

export function checkGovernanceInterval(text: string): void {
  const ms = checkDuration(text);
  if (ms >= GOVERNANCE_INTERVAL_MS_MIN && ms <= GOVERNANCE_INTERVAL_MS_MAX) return;
  throw new Error('write a time from 1s to 1h');
}

/** A URL, a path, or that nobody governs. */
export function checkGovernanceSource(text: string): void {
  if (text !== 'off' && !text.includes('://')) checkAbsolute(text);
}

/** One element, so that its place is that in the list. */
export function checkResource(text: string): void {
  if (text.includes(',')) throw new Error(`"${text}" is a list; write its elements one by one`);
  try {
    parseResources(text);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(message.replace(/^element 1 "[^"]*": /, ''));
  }
}

/** The daemon has another folder than whoever writes it. */
export function checkAbsolute(path: string): void {
  if (!isAbsolute(path)) throw new Error(`"${path}" is no absolute path`);
}

/** What is in the files, and whether it can be used, is looked at when all settings are known. */
export function checkClientCertificate(text: string): void {
  for (const file of splitClientCertificate(text).files) checkAbsolute(file);
}

export function checkAuthority(path: string): void {
  checkAbsolute(path);
  try {
    new X509Certificate(readFileSync(path));
  } catch (cause) {
    throw new Error(`${path} holds no certificate (PEM)`, { cause });
  }
}

export function checkSigningKey(path: string): void {
  checkAbsolute(path);
  if (ed25519PrivateKey(secretIn(path, 'key')) === null) {
    throw new Error(`${path} holds no Ed25519 private key (PEM)`);
  }
}

export function checkKeep(text: string): void {
  if ((parseKeep(text) ?? 0) > 0) return;
  throw new Error(`"${text}" is no time such as 12h, 30d or forever`);
}

export function checkAuditSize(text: string): void {
  if ((parseSize(text) ?? 0) >= AUDIT_KEEP_BYTES_MIN) return;
  throw new Error(`"${text}" is no size such as 500MiB or 2GiB, at least 200MiB`);
}

/** @throws SALLYPORT_SETTING_INVALID for a file that cannot be read, or that others may use */
export function secretIn(path: string, secret: 'key' | 'token'): string {
  const fault = (message: string, cause?: unknown): SallyportError =>
    new SallyportError('SALLYPORT_SETTING_INVALID', message, { cause });
  return contentIn(path, { bytesMax: SECRET_FILE_BYTES_MAX, fault, secret }).toString();
}
