// The grammar of what a rule names. A list is taken whole or refused whole; every fault is told
// with its element, the reason and the form that would be right.
import { SallyportError } from '../base/errors.ts';
import { HOST_BYTES_MAX, RULE_RESOURCES_MAX } from '../base/limits.ts';
import { type Address, addressBytes, parseAddress, parseRange } from './address.ts';
import { isGlob, readGlob } from './glob.ts';
import { canonicalHost, type Host, normalizeHost, shown } from './host.ts';
import type { Decision } from './rule.ts';

const ELEMENT_LENGTH_MAX = 2 * HOST_BYTES_MAX; // Character classes make a pattern longer than its hosts.

/** One element of a rule's resource list, parsed. `text` is its canonical spelling. */
export type Resource =
  /** `example.com`, `*.example.com`, `**.example.com`, `crl*.example.com`, `localhost:80` */
  | {
      readonly kind: 'host';
      readonly text: string;
      /** none: the labels alone. one: `*.` before them. many: `**.` before them. */
      readonly prefix: 'none' | 'one' | 'many';
      /** Left to right, lower case; a label with `*`, `?` or `[` is a glob within that label. */
      readonly labels: readonly string[];
      /** 0 for any port. */
      readonly port: number;
    }
  /** `**`, `**:443`: every host and every address. */
  | { readonly kind: 'any'; readonly text: string; readonly port: number }
  /** `10.1.2.3`, `10.0.0.0/8`, `[2001:db8::1]:443`: an address is a range of full length. */
  | {
      readonly kind: 'cidr';
      readonly text: string;
      /** 4 or 16 bytes, network order, host bits zero. */
      readonly bytes: Uint8Array;
      readonly prefixLength: number;
      readonly port: number;
    };

/**
 * Reads a comma-separated list; duplicates count once.
 *
 * @throws SALLYPORT_POLICY_INVALID naming every faulty element.
 */
export function parseResources(list: string): Resource[] {
  const elements = list.split(',').map((element) => element.trim());
  if (elements.length > RULE_RESOURCES_MAX) {
    throw invalid(`${elements.length} resources in one rule; at most ${RULE_RESOURCES_MAX} fit`);
  }
  const found = new Map<string, Resource>();
  const faults: string[] = [];
  for (const [index, element] of elements.entries()) {
    const resource = read(element);
    if (typeof resource === 'string')
      faults.push(`element ${index + 1} ${shown(element)}: ${resource}`);
    else found.set(resource.text, resource);
  }
  if (faults.length > 0) throw invalid(faults.join('; '));
  return [...found.values()];
}

/**
 * What may not be allowed although it can be named: everything by address, or the loopback whole.
 *
 * @throws SALLYPORT_POLICY_INVALID naming every such element.
 */
export function checkForDecision(decision: Decision, resources: readonly Resource[]): void {
  if (decision === 'deny') return;
  const faults: string[] = [];
  for (const resource of resources) {
    const why = forbiddenAllow(resource);
    if (why !== null) faults.push(`${shown(resource.text)}: ${why}`);
  }
  if (faults.length > 0) throw invalid(faults.join('; '));
}

/** The labels that every host ends with that the resource covers. */
export function literalEnd({ labels }: Extract<Resource, { kind: 'host' }>): readonly string[] {
  return labels.slice(labels.findLastIndex(isGlob) + 1);
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatHostPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function forbiddenAllow(resource: Resource): string | null {
  if (
    resource.kind === 'host' &&
    resource.prefix === 'none' &&
    resource.labels.join('.') === 'localhost'
  ) {
    return resource.port === 0
      ? 'the loopback is allowed port by port; write localhost:PORT'
      : null;
  }
  if (resource.kind !== 'cidr') return null;
  if (resource.prefixLength === 0) return 'a range of all addresses; write ** or a narrower range';
  const unspecified = resource.bytes.every((byte) => byte === 0);
  return unspecified && resource.prefixLength === resource.bytes.length * 8
    ? 'the unspecified address leads to this machine; write localhost:PORT'
    : null;
}

/** @returns the resource, or what is wrong and the right form. */
function read(element: string): Resource | string {
  const fault = misreadOf(element);
  if (fault !== null) return fault;
  if (element.includes('/')) return readRange(element);
  const { host, port } = splitPort(element);
  if (typeof port === 'string') return port;
  const suffix = port === 0 ? '' : `:${port}`;
  if (host === '*') return `a lone * is ambiguous; write **${suffix} for everything`;
  if (host === '**') return { kind: 'any', text: `**${suffix}`, port };
  if (/^\[[^\]]*\]$/.test(host)) return readBracketed(host, port);
  const address = parseAddress(host);
  return address === null ? readHost(host, port, suffix) : ofAddress(address, port);
}

/** What people write for something else that we have a form for. */
function misreadOf(element: string): string | null {
  if (element === '') return 'it is empty; remove the comma';
  if (element.length > ELEMENT_LENGTH_MAX)
    return `it is longer than any host (${HOST_BYTES_MAX} bytes)`;
  if (element.includes('://')) return 'it is a URL; write the host alone, like example.com:443';
  if (element.includes('\\')) return 'globs cannot be escaped; write the name itself';
  if (!element.includes('/') && parseAddress(element)?.includes(':')) {
    return `a bare IPv6 address; write [${element}]:PORT or ${element}/128`;
  }
  return null;
}

function readRange(element: string): Resource | string {
  const range = parseRange(element);
  if (typeof range !== 'string') {
    const { bytes, length } = range;
    const [written = ''] = element.split('/');
    const address = parseAddress(written) ?? written;
    return { kind: 'cidr', text: `${address}/${length}`, bytes, prefixLength: length, port: 0 };
  }
  if (/\/\d+\]?:\d+$/.test(element))
    return 'a range takes no port; write it alone, like 10.0.0.0/8';
  if (/^[0-9a-f.:[\]]+\//i.test(element))
    return `${range}; write it like 10.0.0.0/8 or 2001:db8::/32`;
  return 'a path cannot be named here; write the host alone, like example.com:443';
}

function readBracketed(host: string, port: number): Resource | string {
  const address = parseAddress(host.slice(1, -1));
  if (address === null || !host.includes(':')) return 'only an IPv6 address may stand in brackets';
  if (port === 0) return `the port is missing; write ${host}:PORT or ${host.slice(1, -1)}/128`;
  return ofAddress(address, port);
}

function ofAddress(address: Address, port: number): Resource {
  const bytes = addressBytes(address);
  const bare = bytes.length === 4 ? address : `${address}/128`;
  const text = port === 0 ? bare : formatHostPort(address, port);
  return { kind: 'cidr', text, bytes, prefixLength: bytes.length * 8, port };
}

function readHost(host: string, port: number, suffix: string): Resource | string {
  const prefix = host.startsWith('**.') ? 'many' : host.startsWith('*.') ? 'one' : 'none';
  const rest = prefix === 'none' ? host : host.slice(prefix === 'one' ? 2 : 3);
  const misplaced = misplacedGlobOf(host, rest);
  if (misplaced !== null) return misplaced;
  try {
    const normal = normalizePattern(rest);
    const canonical = prefix === 'none' ? canonicalHost(normal as Host) : normal;
    const before = { none: '', one: '*.', many: '**.' }[prefix];
    return {
      kind: 'host',
      text: `${before}${canonical}${suffix}`,
      prefix,
      labels: canonical.split('.'),
      port,
    };
  } catch (error) {
    return error instanceof SallyportError
      ? `${error.message}; write a name like example.com`
      : String(error);
  }
}

/** Globs stay as they are, lower case; the name around them is put into normal form. */
function normalizePattern(pattern: string): string {
  if (!/[*?[\]!]/.test(pattern)) return normalizeHost(pattern);
  const labels = (pattern.endsWith('.') ? pattern.slice(0, -1) : pattern).toLowerCase().split('.');
  const stood = labels.map((label) => (hasGlobSign(label) ? standIn(label) : label));
  // A glob stands for letters: with one in its place, the whole must be a name.
  normalizeHost(stood.join('.'));
  const normal = labels.map((label) =>
    isGlob(label) ? label : normalizeHost(`${label}.x`).slice(0, -2),
  );
  const host = normal.join('.');
  if (host.length > HOST_BYTES_MAX) throw invalid(`it is longer than ${HOST_BYTES_MAX} bytes`);
  return host;
}

function hasGlobSign(label: string): boolean {
  return /[*?[\]!]/.test(label);
}

function misplacedGlobOf(host: string, rest: string): string | null {
  if (isAddressPattern(host)) return 'addresses go by range; write 10.0.0.0/8';
  return rest.includes('**') ? '** may only stand first, as in **.example.com' : null;
}

/** `10.0.0.*`: as a name it would match nothing that looks like it. */
function isAddressPattern(pattern: string): boolean {
  return isGlob(pattern) && /^[\d*?[\]!.-]+$/.test(pattern) && /(^|\.)\d+(\.|$)/.test(pattern);
}

function standIn(label: string): string {
  const steps = readGlob(label);
  if (typeof steps === 'string') throw invalid(`${shown(label)} is not a glob: ${steps}`);
  return 'x';
}

/** @returns the port as a number, 0 when none is written, or what is wrong with it. */
export function splitPort(element: string): { host: string; port: number | string } {
  const colon = element.lastIndexOf(':');
  if (colon < 0 || element.endsWith(']')) return { host: element, port: 0 };
  const [host, text] = [element.slice(0, colon), element.slice(colon + 1)];
  if (host.includes(':') && !host.startsWith('[')) {
    return { host, port: 'an IPv6 address needs brackets; write [ADDRESS]:PORT' };
  }
  if (host === '')
    return { host, port: 'the host is missing; write HOST:PORT, or **:PORT for all' };
  if (!/^[1-9]\d{0,4}$/.test(text) || Number(text) > 65_535) {
    return { host, port: `the port ${shown(text)} is not one number from 1 to 65535` };
  }
  return { host, port: Number(text) };
}

function invalid(message: string): SallyportError {
  return new SallyportError('SALLYPORT_POLICY_INVALID', message);
}
