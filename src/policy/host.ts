// Host names in the one form that rules and requests are both compared in. Nothing here guesses: a
// spelling without such a form is refused, so that two readers cannot disagree on whom it means.
import { domainToASCII } from 'node:url';
import { type Code, SallyportError } from '../base/errors.ts';
import { HOST_BYTES_MAX, LABEL_BYTES_MAX } from '../base/limits.ts';
import { printable } from '../base/printable.ts';
import { type Address, parseAddress } from './address.ts';

/** A host in the one form the matcher compares: lower-case A-labels, no trailing dot. */
export type Host = string & { readonly __host: unique symbol };

/** The host machine's loopback, as rules and requests have it. */
export const LOCALHOST = 'localhost' as Host;
/** What a sandbox calls it, too: a pattern for such names does not cover `localhost`. */
export const LOCALHOST_ALIAS = 'host.docker.internal' as Host;

/**
 * Puts a reg-name into the form that policies and requests are both compared in: UTS-46 A-labels,
 * lower case, one trailing dot dropped, letters, digits and hyphens only (RFC 1123 section 2.1).
 *
 * @param name  `uri-host` as received (RFC 3986 section 3.2.2), without port or brackets.
 * @returns     1..253 bytes of ASCII.
 * @throws      the given code, when the name has no such form.
 */
export function normalizeHost(name: string, code: Code = 'SALLYPORT_POLICY_INVALID'): Host {
  if (isNormal(name)) return name as Host;
  const fault = faultOf(name);
  if (fault !== null) throw new SallyportError(code, `${shown(name)} is not a host name: ${fault}`);
  return ascii(name) as Host;
}

/**
 * Reads a host as it stands in a request: a name, or an address (IPv6 in brackets).
 *
 * @returns `localhost` for every name of the host machine's loopback.
 * @throws SALLYPORT_TARGET_INVALID
 */
export function parseHost(text: string): Host | Address {
  if (text.startsWith('[')) {
    const inner = text.endsWith(']') ? text.slice(1, -1) : '';
    const address = inner.includes(':') ? parseAddress(inner) : null;
    if (address !== null) return address;
    throw invalid(text, 'only an IPv6 address may stand in brackets');
  }
  if (text.includes(':')) throw invalid(text, 'an IPv6 address needs brackets');
  const address = parseAddress(text);
  if (address !== null) return address;
  return canonicalHost(normalizeHost(text, 'SALLYPORT_TARGET_INVALID'));
}

/** One spelling for the host machine's loopback, so that check and enforcement cannot disagree. */
export function canonicalHost(host: Host): Host {
  return host === LOCALHOST_ALIAS ? LOCALHOST : host;
}

/** What somebody wrote, fit for a message: quoted, cut short, nothing in it that a terminal obeys. */
export function shown(text: string): string {
  const cut = text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}...` : text;
  return printable(JSON.stringify(cut));
}

const SHOWN_LENGTH_MAX = 100;

/** One pass over a name that is in normal form already, as nearly all are. */
function isNormal(name: string): boolean {
  if (name.length > HOST_BYTES_MAX) return false;
  let labelStart = 0;
  for (;;) {
    const dot = name.indexOf('.', labelStart);
    const end = dot < 0 ? name.length : dot;
    const letters = readLabel(name, labelStart, end);
    if (letters < 0 || !isLabelEnd(name, labelStart, end)) return false;
    if (dot < 0) return letters > 0 && !name.startsWith('0x', labelStart);
    labelStart = dot + 1;
  }
}

/** @returns how many characters are no digits; -1 when one may not stand in a normal label. */
function readLabel(name: string, start: number, end: number): number {
  let letters = 0;
  for (let i = start; i < end; i++) {
    const unit = name.charCodeAt(i);
    if (unit >= 97 ? unit <= 122 : unit === HYPHEN) letters++;
    else if (unit < 48 || unit > 57) return -1;
  }
  return letters;
}

const HYPHEN = 45;

function isLabelEnd(name: string, start: number, end: number): boolean {
  const length = end - start;
  if (length < 1 || length > LABEL_BYTES_MAX) return false;
  if (name.charCodeAt(start) === HYPHEN || name.charCodeAt(end - 1) === HYPHEN) return false;
  // `xn--` and other tagged labels are for UTS-46 to check.
  return !(
    name.charCodeAt(start + 2) === HYPHEN &&
    name.charCodeAt(start + 3) === HYPHEN &&
    length > 3
  );
}

function ascii(name: string): string {
  // UTS-46 maps several full stops to a dot, so the trailing dot is dropped after the mapping.
  const mapped = domainToASCII(name);
  return mapped.endsWith('.') ? mapped.slice(0, -1) : mapped;
}

function faultOf(name: string): string | null {
  if (name === '') return 'it is empty';
  if (name.length > 4 * HOST_BYTES_MAX) return `it is longer than ${HOST_BYTES_MAX} bytes`;
  if (/[\0-,/:-@[-`{-\x7f]/.test(name))
    return 'only letters, digits, hyphens and dots may stand in it';
  // URL parsers read a last label of digits (or 0x...) as an IPv4 address, each in its own way.
  if (/(^|\.)(\d+|0x[0-9a-f]*)\.?$/i.test(name)) return 'it looks like an address, and is none';
  const host = ascii(name);
  if (host === '') return 'it has no form in ASCII (UTS-46)';
  if (host.length > HOST_BYTES_MAX) return `it is longer than ${HOST_BYTES_MAX} bytes`;
  const labels = host.split('.');
  if (labels.includes('')) return 'a label is empty';
  if (labels.some((label) => label.length > LABEL_BYTES_MAX)) {
    return `a label is longer than ${LABEL_BYTES_MAX} bytes`;
  }
  if (!labels.every((label) => /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(label))) {
    return 'a label holds something else than letters, digits and inner hyphens';
  }
  // Digits may have come out of the mapping, where domainToASCII reads an address itself.
  if (/^(\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '')) return 'it looks like an address';
  return null;
}

function invalid(text: string, why: string): SallyportError {
  return new SallyportError('SALLYPORT_TARGET_INVALID', `${shown(text)} is not a host: ${why}`);
}
