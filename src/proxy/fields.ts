// Which fields pass the proxy and which end at it (RFC 9110 section 7.6.1), both ways. Framing and
// Host are never copied from the client: they are written anew from what was judged. Values are not
// looked at again; head.ts or the upstream parser has refused what could break out of a line.
import { type Code, SallyportError } from '../base/errors.ts';
import type { Address } from '../policy/address.ts';
import type { Host } from '../policy/host.ts';
import { Facts } from './facts.ts';
import type { RequestHead } from './head.ts';
import { isToken, isValue } from './syntax.ts';

/** How the proxy names itself in Via (RFC 9110 section 7.6.3): a pseudonym, no host or version. */
export const VIA_PSEUDONYM = 'sallyport';

export type ForwardOptions = {
  /** Add ourselves to Via. */
  readonly via: boolean;
  /** Client address to add to X-Forwarded-For; null adds nothing. */
  readonly forwardedFor: string | null;
  /** Port that Host does not name: the scheme's own. */
  readonly defaultPort: number;
};

/** The fields of a response as the client gets them, without what frames them. */
export type ForwardedResponse = {
  /** Field lines, each with CRLF, latin1; no Content-Length, Transfer-Encoding or Connection. */
  readonly text: string;
  /** Octets, as the origin announced them; for HEAD and 304 what a GET would have had. */
  readonly contentLength: number | null;
  /** The origin sent chunks; false with contentLength null: the content ends with the connection. */
  readonly chunked: boolean;
};

/**
 * The request fields that go upstream, flat name, value, as undici takes them.
 *
 * Host comes from the target that was judged. Content-Length is kept when it was sent; content in
 * chunks is framed again by undici. Connection, Upgrade and Expect are undici's and the relay's to
 * speak for, and undici refuses to be given them.
 */
export function forwardRequestFields(
  head: RequestHead,
  target: { readonly host: Host | Address; readonly port: number },
  options: ForwardOptions,
): string[] {
  const forwarded = ['host', hostField(target.host, target.port, options.defaultPort)];
  copyRequestFields(head, forwarded, takenOver(options));
  if (head.contentLength !== null) forwarded.push('content-length', String(head.contentLength));
  if (head.teTrailers) forwarded.push('te', 'trailers');
  if (options.via) {
    const version = head.version === 11 ? '1.1' : '1.0';
    forwarded.push('via', appended(head.fields, 'via', `${version} ${VIA_PSEUDONYM}`));
  }
  if (options.forwardedFor !== null) {
    const list = appended(head.fields, 'x-forwarded-for', options.forwardedFor);
    forwarded.push('x-forwarded-for', list);
  }
  return forwarded;
}

function copyRequestFields(head: RequestHead, forwarded: string[], stops: NameSet): void {
  const { fields } = head;
  const named = namedByConnection(head.connectionTokens);
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (stops.has(name) || named?.has(name.toLowerCase())) continue;
    forwarded.push(name, fields[i + 1] as string);
  }
}

/** Via and X-Forwarded-For are written anew when we add to them. */
function takenOver({ via, forwardedFor }: ForwardOptions): NameSet {
  if (via) return forwardedFor === null ? STOPS_VIA : STOPS_BOTH;
  return forwardedFor === null ? REQUEST_STOPS : STOPS_FORWARDED_FOR;
}

/** The list of all fields called `name`, and `last` at its end. */
function appended(fields: readonly string[], name: string, last: string): string {
  let list = '';
  for (let i = 0; i < fields.length; i += 2) {
    if ((fields[i] as string).toLowerCase() === name && fields[i + 1] !== '') {
      list += `${fields[i + 1]}, `;
    }
  }
  return list + last;
}

/**
 * The response fields that go to the client.
 *
 * @param raw  flat name, value as undici gives them (`controller.rawHeaders`).
 * @param via  version that the origin spoke (`1.1`), to add ourselves to Via; null adds nothing.
 * @throws SALLYPORT_UPSTREAM_MALFORMED for framing that can be read in two ways.
 */
export function forwardResponseFields(
  raw: readonly Buffer[] | readonly string[],
  via: string | null = null,
): ForwardedResponse {
  const fields = textsOf(raw);
  const facts = responseFacts(fields);
  const named = namedByConnection(facts.connectionTokens);
  let text = '';
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (RESPONSE_STOPS.has(name) || named?.has(name.toLowerCase())) continue;
    text += `${name}: ${fields[i + 1]}\r\n`;
  }
  if (via !== null) text += `Via: ${via} ${VIA_PSEUDONYM}\r\n`;
  return { text, contentLength: facts.contentLength, chunked: facts.chunked };
}

/**
 * Trailer lines for the client, each with CRLF. Fields that frame, route or authenticate have no
 * business behind the content (RFC 9110 section 6.5.1) and are left out, as is what is not a field.
 */
export function forwardTrailers(raw: readonly Buffer[] | readonly string[]): string {
  if (raw.length === 0) return '';
  const fields = textsOf(raw);
  let text = '';
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] ?? '';
    if (!TRAILER_STOPS.has(name) && isToken(name) && isValue(value))
      text += `${name}: ${value}\r\n`;
  }
  return text;
}

/**
 * Serialises fields that we put together ourselves, each line with CRLF.
 *
 * @param fields  flat name, value.
 * @throws SALLYPORT_INTERNAL for what would break out of its line: a defect, or a secret with a newline.
 */
export function fieldLines(fields: readonly string[]): string {
  let text = '';
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const value = fields[i + 1] ?? '';
    if (!isToken(name) || !isValue(value)) {
      throw new SallyportError('SALLYPORT_INTERNAL', 'a field of our own making is not valid');
    }
    text += `${name}: ${value}\r\n`;
  }
  return text;
}

/** Value of Host for a target (RFC 9110 section 7.2): brackets around IPv6, no default port. */
export function hostField(host: Host | Address, port: number, defaultPort: number): string {
  const name = host.includes(':') ? `[${host}]` : host;
  return port === defaultPort ? name : `${name}:${port}`;
}

/**
 * A set of lower-case names asked by names as they come. What spelling a name came in is
 * remembered, since there are few; a flood of spellings only loses the memory, not the answer.
 */
class NameSet {
  readonly #names: ReadonlySet<string>;
  readonly #spellings = new Map<string, boolean>();

  constructor(names: readonly string[]) {
    this.#names = new Set(names);
  }

  has(name: string): boolean {
    const known = this.#spellings.get(name);
    if (known !== undefined) return known;
    const lower = name.toLowerCase();
    const answer = this.#names.has(lower) || lower.startsWith('proxy-');
    if (this.#spellings.size >= SPELLINGS_MAX) this.#spellings.clear();
    if (name.length <= SPELLING_BYTES_MAX) this.#spellings.set(lastingCopy(name), answer);
    return answer;
  }
}

const SPELLINGS_MAX = 512;
const SPELLING_BYTES_MAX = 64;

/** A slice would keep the whole head alive that it was cut from. */
function lastingCopy(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

const HOP_BY_HOP = ['connection', 'keep-alive', 'te', 'transfer-encoding', 'upgrade'] as const;
const REQUEST_NAMES = [...HOP_BY_HOP, 'host', 'content-length', 'expect', 'trailer'];
const REQUEST_STOPS = new NameSet(REQUEST_NAMES);
const STOPS_VIA = new NameSet([...REQUEST_NAMES, 'via']);
const STOPS_FORWARDED_FOR = new NameSet([...REQUEST_NAMES, 'x-forwarded-for']);
const STOPS_BOTH = new NameSet([...REQUEST_NAMES, 'via', 'x-forwarded-for']);
const RESPONSE_STOPS = new NameSet([...HOP_BY_HOP, 'content-length']);
const TRAILER_STOPS = new NameSet([
  ...HOP_BY_HOP,
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'host',
  'location',
  'set-cookie',
  'trailer',
  'www-authenticate',
]);

/** The names that Connection adds to those which always stop; null when it adds none. */
function namedByConnection(tokens: readonly string[]): ReadonlySet<string> | null {
  for (const token of tokens) {
    if (token !== 'close' && token !== 'keep-alive') return new Set(tokens);
  }
  return null;
}

/**
 * undici hands fields as views of the bytes it read. One text of the whole stretch, sliced, was
 * tried: 1.0 against 1.25 us for 8 fields, not worth the care it takes.
 */
function textsOf(raw: readonly Buffer[] | readonly string[]): readonly string[] {
  const texts: string[] = [];
  for (const part of raw) texts.push(typeof part === 'string' ? part : part.toString('latin1'));
  return texts;
}

/** The origin's version is not known here; its parser has refused chunks in HTTP/1.0. */
function responseFacts(fields: readonly string[]): Facts {
  const malformed: Code = 'SALLYPORT_UPSTREAM_MALFORMED';
  try {
    return new Facts(fields, 11, malformed);
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    throw new SallyportError(malformed, error.message, { cause: error });
  }
}
