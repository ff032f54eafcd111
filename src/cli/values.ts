// Values of options as people type them. A bad one is named with the form that is right.
import { InvalidArgumentError } from 'commander';
import { parseAge, parseDuration } from '../base/duration.ts';
import { SallyportError } from '../base/errors.ts';
import {
  APPROVAL_LIFE_MS_MAX,
  APPROVAL_LIFE_MS_MIN,
  DRAIN_TIMEOUT_MS_MAX,
  GOVERNANCE_AUDIT_ROWS_MAX,
  GOVERNANCE_AUDIT_ROWS_MIN,
  SECRET_REFRESH_MS_MIN,
  WORKERS_MAX,
} from '../base/limits.ts';

/** `500ms`, `30s`, `2m`, `1h`. @returns milliseconds, at most a day @throws InvalidArgumentError */
export function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new InvalidArgumentError('Write a duration such as 500ms, 30s or 2m.');
  if (ms > DRAIN_TIMEOUT_MS_MAX) throw new InvalidArgumentError('A day (24h) is the most.');
  return ms;
}

/** `30m`, `1h`, `7d`, or `always`. @returns milliseconds; null for always @throws InvalidArgumentError */
export function lifetime(text: string): number | null {
  if (text === 'always') return null;
  const ms = parseAge(text);
  if (ms === null) throw new InvalidArgumentError('Write a time such as 30m, 1h or 7d, or always.');
  if (ms >= APPROVAL_LIFE_MS_MIN && ms <= APPROVAL_LIFE_MS_MAX) return ms;
  throw new InvalidArgumentError('Write a time from 1s to 30d, or always.');
}

/** As `duration`, but kept as it is written. */
export function durationText(text: string): string {
  duration(text);
  return text;
}

/** How long ago: `30m`, `1h`, `7d`. @returns milliseconds @throws InvalidArgumentError */
export function age(text: string): number {
  const days = /^(\d{1,5})d$/.exec(text)?.[1];
  const ms = parseDuration(days === undefined ? text : `${24 * Number(days)}h`);
  if (ms === null) throw new InvalidArgumentError('Write a time such as 30m, 1h or 7d.');
  return ms;
}

/** A duration, or `on-demand`. @returns milliseconds, 0 for on demand @throws InvalidArgumentError */
export function refreshInterval(text: string): number {
  if (text === 'on-demand') return 0;
  const ms = duration(text);
  if (ms >= SECRET_REFRESH_MS_MIN) return ms;
  throw new InvalidArgumentError('Write at least 10s, or on-demand.');
}

/** @throws InvalidArgumentError */
export function workerCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > WORKERS_MAX) {
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${WORKERS_MAX}.`);
  }
  return count;
}

/** @throws InvalidArgumentError */
export function auditRows(text: string): number {
  const [min, max] = [GOVERNANCE_AUDIT_ROWS_MIN, GOVERNANCE_AUDIT_ROWS_MAX];
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count >= min && count <= max) return count;
  throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
}

/** @throws InvalidArgumentError */
export function entryCount(text: string): number {
  if (!/^\d{1,9}$/.test(text))
    throw new InvalidArgumentError('It must be a whole number, 0 or more.');
  return Number(text);
}

/** A comma list, added to those of the option's earlier uses. @throws InvalidArgumentError */
export function protocolList(text: string, before: readonly string[] = []): string[] {
  return listOf(text, before, ['tcp', 'udp'], 'tcp, udp or tcp,udp');
}

/** Likewise, of the places in a request where a placeholder may stand. */
export function placeList(text: string, before: readonly string[] = []): string[] {
  return listOf(text, before, ['fields', 'query', 'content'], 'fields, query, content or several');
}

/** Any value, added to those of the option's earlier uses. */
export function eachOf(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

/** Any comma list, added to those of the option's earlier uses. */
export function eachElementOf(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(',').map((part) => part.trim())];
}

/**
 * A sandbox can be named by `--sandbox` or, as older versions have it, by an argument.
 *
 * @throws SALLYPORT_USAGE for both: what one of them says would be passed over
 */
export function sandboxNamed(
  option: string | undefined,
  argument: string | undefined,
): string | undefined {
  if (option === undefined || argument === undefined) return option ?? argument;
  throw new SallyportError('SALLYPORT_USAGE', 'name the sandbox once, with --sandbox');
}

function listOf(
  text: string,
  before: readonly string[],
  possible: readonly string[],
  form: string,
): string[] {
  const given = text.split(',').map((part) => part.trim().toLowerCase());
  const bad = given.filter((part) => !possible.includes(part));
  if (bad.length > 0) {
    throw new InvalidArgumentError(`${bad.map((part) => `"${part}"`).join(', ')}: write ${form}.`);
  }
  return [...new Set([...before, ...given])];
}
