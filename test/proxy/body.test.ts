// Content framing: exact ends, every cut, every refusal, and that nothing after the end is eaten.
import fc from 'fast-check';
import t from 'tap';
import { type Code, SallyportError } from '../../src/base/errors.ts';
import { CHUNK_LINE_BYTES_MAX, FIELDS_MAX, TRAILER_BYTES_MAX } from '../../src/base/limits.ts';
import {
  BodyDecoder,
  CHUNK_END,
  CHUNK_TAIL,
  chunkEnd,
  chunkHead,
  type Framing,
} from '../../src/proxy/body.ts';

type Read = { data: string; used: number; done: boolean; code: Code | null };

/** Pushes `text` in steps, from a buffer with other bytes around it. */
function read(text: string, framing: Framing, length = 0, step = text.length || 1): Read {
  const decoder = new BodyDecoder(framing, length);
  const bytes = Buffer.from(`5\r\n${text}0\r\n\r\n`, 'latin1');
  const stop = 3 + Buffer.byteLength(text, 'latin1');
  let data = '';
  let used = 0;
  try {
    for (let at = 3; at < stop && !decoder.done; at += step) {
      const end = Math.min(at + step, stop);
      const consumed = decoder.push(bytes, at, end, (slice) => {
        data += slice.toString('latin1');
      });
      if (consumed !== end - at && !decoder.done) throw new Error('left bytes without being done');
      used += consumed;
    }
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    return { data, used, done: decoder.done, code: error.code };
  }
  return { data, used, done: decoder.done, code: null };
}

t.test('none and length', (t) => {
  t.strictSame(read('abc', 'none'), { data: '', used: 0, done: true, code: null });
  t.strictSame(read('abc', 'length', 0), { data: '', used: 0, done: true, code: null });
  for (let step = 1; step <= 6; step++) {
    t.strictSame(read('abcdef', 'length', 4, step), {
      data: 'abcd',
      used: 4,
      done: true,
      code: null,
    });
    t.match(read('abc', 'length', 4, step), { data: 'abc', used: 3, done: false });
  }
  t.end();
});

const valid: [text: string, data: string][] = [
  ['0\r\n\r\n', ''],
  ['5\r\nhello\r\n0\r\n\r\n', 'hello'],
  ['1\r\na\r\nA\r\n0123456789\r\n000\r\n\r\n', 'a0123456789'],
  ['3;a=b;c="d;e\xe9" ;f\r\n\r\n\r\r\n0;z\r\n\r\n', '\r\n\r'],
  ['1 \t;a\r\nx\r\n0\r\nX-Sum: 1\r\nA:\t\xff \r\n\r\n', 'x'],
];

t.test('chunks end exactly at their last byte, however they are cut', (t) => {
  for (const [text, data] of valid) {
    for (let step = 1; step <= text.length; step++) {
      const wanted = { data, used: text.length, done: true, code: null };
      t.strictSame(read(text, 'chunked', 0, step), wanted);
      t.strictSame(read(`${text}GET / HTTP/1.1\r\n\r\n`, 'chunked', 0, step), wanted);
    }
    for (let cut = 0; cut < text.length; cut++) {
      t.match(read(text.slice(0, cut), 'chunked', 0), { used: cut, done: false, code: null });
    }
  }
  t.end();
});

const MALFORMED = 'SALLYPORT_REQUEST_MALFORMED';
const refusals: [text: string, code: Code, why: string][] = [
  ...['\r\n', ' 5\r\n', '+5\r\n', '-1\r\n', '0x5\r\n', 'g\r\n', ';a\r\n', '\n', '5_0\r\n'].map(
    (text): [string, Code, string] => [text, MALFORMED, `size line ${JSON.stringify(text)}`],
  ),
  ['5\nhello\r\n0\r\n\r\n', MALFORMED, 'a bare LF behind the size'],
  ['5\rhello', MALFORMED, 'a bare CR behind the size'],
  ['5 \r\nhello', MALFORMED, 'space behind the size'],
  ['5 5\r\nhello', MALFORMED, 'two sizes'],
  ['5;a\nhello', MALFORMED, 'a bare LF in an extension'],
  ['5;a\rb\r\nhello', MALFORMED, 'a bare CR in an extension'],
  ['5;a\0\r\nhello', MALFORMED, 'NUL in an extension'],
  ['5;"\n"\r\nhello', MALFORMED, 'LF in a quoted extension'],
  ['5\r\nhelloX', MALFORMED, 'data longer than its size'],
  ['5\r\nhello\n0\r\n\r\n', MALFORMED, 'a bare LF behind data'],
  ['5\r\nhello\r0', MALFORMED, 'a bare CR behind data'],
  ['5\r\nhello0\r\n', MALFORMED, 'no CRLF behind data'],
  ['0\r\n\n', MALFORMED, 'a bare LF at the end'],
  ['0\r\n\rX', MALFORMED, 'a bare CR at the end'],
  ['0\r\nA: b\n\r\n', MALFORMED, 'a bare LF behind a trailer'],
  ['0\r\nA: b\rC', MALFORMED, 'a bare CR behind a trailer'],
  ['0\r\nA: b\r\n c\r\n\r\n', MALFORMED, 'obs-fold'],
  ['0\r\nA : b\r\n\r\n', MALFORMED, 'space before the colon'],
  ['0\r\n: b\r\n\r\n', MALFORMED, 'no name'],
  ['0\r\nA\r\n\r\n', MALFORMED, 'no colon'],
  ['0\r\nA: \0\r\n\r\n', MALFORMED, 'NUL in a value'],
  ['20000000000000\r\n', MALFORMED, 'a size of 2^53'],
  [`${'f'.repeat(17)}\r\n`, MALFORMED, 'a size over 64 bits'],
  ['0'.repeat(CHUNK_LINE_BYTES_MAX + 1), MALFORMED, 'zeros without end'],
  [`1;${'a'.repeat(CHUNK_LINE_BYTES_MAX)}`, MALFORMED, 'an extension without end'],
  [`0\r\nA: ${'b'.repeat(TRAILER_BYTES_MAX)}`, 'SALLYPORT_HEAD_TOO_LARGE', 'a trailer without end'],
  [`0\r\n${'A:\r\n'.repeat(FIELDS_MAX + 1)}`, 'SALLYPORT_HEAD_TOO_LARGE', 'too many trailers'],
];

t.test('refusals, whole and byte by byte', (t) => {
  for (const [text, code, why] of refusals) {
    t.match(read(text, 'chunked'), { code, done: false }, why);
    t.match(read(text, 'chunked', 0, 1), { code, done: false }, `${why}, byte by byte`);
  }
  t.end();
});

t.test('sizes up to 2^53 - 1 and line bounds are exact', (t) => {
  t.match(read('1fffffffffffff\r\nabc', 'chunked'), { data: 'abc', code: null });
  const padded = `${'0'.repeat(CHUNK_LINE_BYTES_MAX - 2)}1\r\nx\r\n0\r\n\r\n`;
  t.match(read(padded, 'chunked'), { data: 'x', done: true, code: null });
  t.end();
});

t.test('data comes as views, without a copy', (t) => {
  const bytes = Buffer.from('hello');
  const decoder = new BodyDecoder('length', 5);
  decoder.push(bytes, 0, 5, (slice) => t.equal(slice, bytes));
  const chunked = Buffer.from('2\r\nhi\r\n');
  new BodyDecoder('chunked').push(chunked, 0, chunked.length, (slice) =>
    t.equal(slice.buffer, chunked.buffer),
  );
  t.plan(2);
});

t.test('what the encoder writes, the decoder reads', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ minLength: 1, maxLength: 300, unit: 'binary-ascii' }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 40 }),
      fc.string({ unit: 'binary-ascii' }),
      (chunks, step, after) => {
        const text = chunks.map((c) => `${chunkHead(c.length)}${c}${CHUNK_TAIL}`).join('');
        for (const end of [CHUNK_END, chunkEnd(''), chunkEnd('X-Sum: 1\r\n')]) {
          const seen = read(`${text}${end}${after}`, 'chunked', 0, step);
          if (!seen.done || seen.data !== chunks.join('')) throw new Error('data differs');
          if (seen.used !== text.length + end.length) throw new Error('the end is missed');
        }
      },
    ),
  );
  t.pass('all generated cases agree');
  t.end();
});

t.test('any bytes: a SallyportError or progress, the same for every cut', (t) => {
  const piece = fc.oneof(
    ...['5', '0', '\r\n', '\n', '\r', ';', 'a', ' ', ':', 'hello', '0\r\n\r\n', '\0'].map((text) =>
      fc.constant(text),
    ),
    fc.string({ unit: 'binary-ascii', maxLength: 5 }),
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 20 }),
      fc.integer({ min: 1, max: 5 }),
      (parts, step) => {
        const text = parts.join('');
        const whole = read(text, 'chunked');
        const cut = read(text, 'chunked', 0, step);
        if (whole.code !== cut.code || whole.done !== cut.done || whole.data !== cut.data) {
          throw new Error('splits differ');
        }
        if (whole.code === null && whole.used !== cut.used) throw new Error('ends differ');
      },
    ),
    { numRuns: 3_000 },
  );
  t.pass('all generated cases agree');
  t.end();
});
