import t from 'tap';
import {
  ENTRY_DENY,
  ENTRY_HTTP,
  ENTRY_TCP,
  ENTRY_UDP,
  HEADER_BYTES,
  SET_INLINE,
} from '../../assembly/layout.ts';
import { grown, refuseOver, Sets, Words } from '../../src/policy/compile-words.ts';

t.test('words have offsets from the first byte of the image', async (t) => {
  const words = new Words();
  t.equal(words.offset, HEADER_BYTES);
  for (let i = 0; i < 10_000; i++) words.push(i);
  t.equal(words.offset, HEADER_BYTES + 40_000);
  t.equal(words.array[9_999], 9_999);
  t.equal(words.array.length, 10_000);
});

t.test('one entry for any port takes no record', async (t) => {
  const words = new Words();
  const sets = new Sets(words);
  const set = sets.add(0, 0, ENTRY_TCP, 77);
  t.equal(sets.seal(set) >>> 0, (SET_INLINE | (ENTRY_TCP << 20) | 77) >>> 0);
  t.equal(words.array.length, 0);
  t.equal(sets.seal(0), 0);
});

t.test('a record has each key once, ascending, with the lowest rule', async (t) => {
  const words = new Words();
  const sets = new Sets(words);
  let set = 0;
  set = sets.add(set, 0, ENTRY_UDP, 9);
  set = sets.add(set, 443, ENTRY_TCP, 4);
  set = sets.add(set, 80, ENTRY_TCP | ENTRY_DENY, 3);
  set = sets.add(set, 443, ENTRY_TCP, 2);
  set = sets.add(set, 65_535, ENTRY_TCP, 1);
  t.equal(sets.seal(set), HEADER_BYTES);
  const [count, anyCount, ...entries] = words.array;
  t.strictSame([count, anyCount], [4, 1]);
  t.strictSame(entries, [
    ENTRY_UDP,
    9,
    (80 << 16) | ENTRY_TCP | ENTRY_DENY,
    3,
    (443 << 16) | ENTRY_TCP,
    2,
    ((65_535 << 16) | ENTRY_TCP) >>> 0,
    1,
  ]);
});

t.test('very many HTTP rules of one host do not hold up a compilation', async (t) => {
  const words = new Words();
  const sets = new Sets(words);
  const many = 40_000;
  let set = 0;
  for (let rule = 0; rule < many; rule++) {
    const place = sets.http({ rule, methods: 1, pattern: 4 * rule });
    set = sets.add(set, 443, ENTRY_TCP | ENTRY_HTTP, place);
  }
  const started = performance.now();
  t.ok(sets.seal(set) > 0);
  t.ok(performance.now() - started < 5_000, 'one after the other');
  t.equal(words.array[0], many, 'the list has them all');
});

t.test('arrays double, within the bound', async (t) => {
  const small = Uint32Array.of(1, 2, 3);
  t.equal(grown(small, 3), small);
  t.strictSame([...grown(small, 4)], [1, 2, 3, 0, 0, 0]);
  t.throws(() => grown(small, 2 ** 29), {
    code: 'SALLYPORT_POLICY_TOO_LARGE',
    message: /2147483648/,
  });
  t.throws(() => refuseOver(11, 10), { code: 'SALLYPORT_POLICY_TOO_LARGE', message: /11 .* 10 / });
  t.doesNotThrow(() => refuseOver(10, 10));
});
