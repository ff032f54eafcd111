// Looks for secrets in whatever was written or said: as they are, and as they are spelled elsewhere.
import { randomBytes } from 'node:crypto';

/** Signs that are spelled differently in JSON, URLs and base64; none that a field could not hold. */
const SIGNS = '"\\%+/&=';

/** A value that nothing else holds; its signs change in each spelling. */
export function uniqueValue(prefix = ''): string {
  return `${prefix}${randomBytes(12).toString('hex')}${SIGNS}${randomBytes(12).toString('hex')}`;
}

/** Of a value, so long that a half of it tells it; a text that was cut holds one, too. */
function piecesOf(value: string): string[] {
  const middle = Math.ceil(value.length / 2);
  return [value.slice(0, middle), value.slice(middle)];
}

/** What base64 of any text that holds this one holds, wherever in it that stands. */
function base64Of(piece: string): string[] {
  return [0, 1, 2].map((before) => {
    const coded = Buffer.from('x'.repeat(before) + piece).toString('base64');
    const [from, to] = [before === 0 ? 0 : 4, Math.floor((before + piece.length) / 3) * 4];
    return coded.slice(from, to); // Only groups of the piece alone.
  });
}

const fromHex = (hex: string): string => String.fromCharCode(Number.parseInt(hex, 16));
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f' };

/** The ways to read a text; what is written in one of them shows in that one. */
function readings(text: string): string[] {
  const decoded = text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => fromHex(hex));
  const unescaped = text.replace(
    /\\(?:u00([0-9a-f]{2})|(.))/gi,
    (_, hex: string | undefined, sign: string) =>
      hex === undefined ? (ESCAPES[sign] ?? sign) : fromHex(hex),
  );
  return [text, decoded, unescaped];
}

/**
 * @param values  by a name for each.
 * @returns the names of the values that a text holds, with the spelling; never the value.
 */
export function findSecrets(
  bytes: Buffer | string,
  values: Readonly<Record<string, string>>,
): string[] {
  const text = typeof bytes === 'string' ? bytes : bytes.toString('latin1');
  const readable = readings(text);
  const ofBase64 = readable.map((one) => one.replaceAll('-', '+').replaceAll('_', '/'));
  const ofHex = text.toLowerCase();
  const spelled: Readonly<Record<string, (piece: string) => boolean>> = {
    'as text': (piece) => readable.some((one) => one.includes(piece)),
    'in hex': (piece) => ofHex.includes(Buffer.from(piece).toString('hex')),
    'in base64': (piece) =>
      base64Of(piece).some((part) => ofBase64.some((one) => one.includes(part))),
  };
  return Object.entries(values).flatMap(([name, value]) =>
    Object.entries(spelled).flatMap(([how, isIn]) =>
      piecesOf(value).some(isIn) ? `${name} ${how}` : [],
    ),
  );
}
