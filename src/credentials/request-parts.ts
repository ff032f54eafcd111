// The parts of a request that a credential can stand in: field values, Basic credentials, the query.
// Each function changes what it is about and leaves every other byte as it was.

/** @returns the decoded `user:password` of a Basic value (RFC 7617), or null for anything else. */
export function basicOf(value: string): string | null {
  const encoded = /^basic +([\w+/=-]+)$/i.exec(value)?.[1];
  return encoded === undefined ? null : Buffer.from(encoded, 'base64').toString('latin1');
}

/**
 * Changes field values, and what Basic credentials hold.
 *
 * @param fields  flat name, value.
 * @returns null when nothing was changed.
 */
export function eachValue(
  fields: readonly string[],
  change: (value: string) => string,
): string[] | null {
  let changed: string[] | null = null;
  for (let i = 1; i < fields.length; i += 2) {
    const value = fields[i] ?? '';
    const basic = basicOf(value);
    const inner = basic ?? value;
    const after = change(inner);
    if (after === inner) continue;
    changed ??= [...fields];
    changed[i] =
      basic === null ? after : `Basic ${Buffer.from(after, 'latin1').toString('base64')}`;
  }
  return changed;
}

/** @param names  lower-case. @returns the fields of other names, a copy */
export function removeFields(fields: readonly string[], names: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    if (!names.has(name.toLowerCase())) kept.push(name, fields[i + 1] ?? '');
  }
  return kept;
}

/** Removes query parameters, however their names are percent-encoded. */
export function removeParameters(path: string, names: readonly string[]): string {
  const at = path.indexOf('?');
  if (at < 0 || names.length === 0) return path;
  const all = path.slice(at + 1).split('&');
  const kept = all.filter(
    (one) => !names.includes(decoded(one.split('=', 1)[0] ?? '').toLowerCase()),
  );
  if (kept.length === all.length) return path;
  return kept.length === 0 ? path.slice(0, at) : `${path.slice(0, at)}?${kept.join('&')}`;
}

/**
 * Replaces what matches in the values of query parameters, percent-encoded or not; the replacement is
 * percent-encoded.
 *
 * @returns null when nothing was changed.
 */
export function replaceInQuery(
  path: string,
  pattern: RegExp,
  replacement: (found: string) => string,
): string | null {
  const at = path.indexOf('?');
  const query = at < 0 ? '' : path.slice(at + 1);
  const parts = query.split('&').map((part) => {
    const text = decoded(part);
    let after = '';
    let end = 0;
    let changed = false;
    for (const { 0: found, index } of text.matchAll(pattern)) {
      const value = replacement(found);
      changed ||= value !== found;
      after += encodeKeeping(text.slice(end, index)) + encodeURIComponent(value);
      end = index + found.length;
    }
    return changed ? after + encodeKeeping(text.slice(end)) : part;
  });
  const joined = parts.join('&');
  return joined === query ? null : `${path.slice(0, at + 1)}${joined}`;
}

/**
 * Replaces what matches in text content; the replacement is spelled as the media type asks.
 *
 * @param mediaType  in lower case, without parameters.
 * @returns null when nothing was changed.
 */
export function replaceInContent(
  content: Buffer,
  mediaType: string,
  pattern: RegExp,
  replacement: (found: string) => string,
): Buffer | null {
  const spelled = mediaType.endsWith('json')
    ? (value: string) => JSON.stringify(value).slice(1, -1)
    : mediaType === 'application/x-www-form-urlencoded'
      ? encodeURIComponent
      : (value: string) => value;
  const text = content.toString('latin1'); // Byte for byte, whatever the charset.
  const after = text.replace(pattern, (found) => {
    const value = replacement(found);
    return value === found ? found : spelled(value);
  });
  return after === text ? null : Buffer.from(after, 'latin1');
}

function encodeKeeping(text: string): string {
  return encodeURIComponent(text).replace('%3D', '='); // The first one is the parameter's own.
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text; // Not percent-encoding; then it cannot hide a name either.
  }
}

/**
 * Whether a server could take a path for another one. Servers differ in what they undo first: percent-
 * encoding, parameters (`;`), empty segments; to some, what stands behind `//` is a host. Where a path
 * that climbs (`..`) ends depends on all of that, so it could be any; clients resolve that themselves
 * (RFC 3986 section 5.2.4).
 *
 * @param path    as it was sent.
 * @param wanted  as a URL has it.
 */
export function couldMean(path: string, wanted: string): boolean {
  const [bare = ''] = path.split('?', 1);
  if (/(?:^|[\\/])\.\.(?:[\\/;?#\0]|$)/.test(unescaped(bare))) return true;
  const behindHost = bare.replace(/^\/{2,}[^/]*/, ''); // As new URL(path, base) reads it.
  const readings = [bare, behindHost].flatMap((one) => [one, one.replace(/;[^/]*/g, '')]);
  return readings.some((one) => plainPath(one) === plainPath(wanted));
}

/** Spellings without a difference, as one. */
function plainPath(path: string): string {
  const [bare = ''] = unescaped(path).split(/[?#\0]/, 1);
  const names = bare.split(/[\\/]/).map((segment) => segment.split(';', 1)[0] ?? '');
  const kept = names.filter((name) => name !== '' && name !== '.');
  return `/${kept.join('/').toLowerCase()}`;
}

/** Byte for byte: what is no UTF-8 is no reason to leave the rest as it is. */
function unescaped(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
