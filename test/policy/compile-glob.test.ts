import t from 'tap';
import { HEADER_BYTES } from '../../assembly/layout.ts';
import { compileGlob } from '../../src/policy/compile-glob.ts';
import { Words } from '../../src/policy/compile-words.ts';

function compiled(pattern: string): number[] {
  const words = new Words();
  t.equal(compileGlob(words, pattern), HEADER_BYTES);
  const { array } = words;
  return [...new Uint8Array(array.buffer, array.byteOffset, array.byteLength)];
}

function classOf(pattern: string): string {
  const bits = compiled(pattern).slice(1, 17);
  const has = (code: number): boolean => (((bits[code >>> 3] ?? 0) >>> (code & 7)) & 1) === 1;
  return Array.from({ length: 128 }, (_, code) => String.fromCharCode(code))
    .filter((character, code) => has(code) && /[a-z0-9-]/.test(character))
    .join('');
}

t.test('letters, stars and question marks stand for themselves', async (t) => {
  t.strictSame(compiled('a?b'), [97, 63, 98, 0]);
  t.strictSame(compiled('a***'), [97, 42, 0, 0], 'many stars are one');
});

t.test('classes', async (t) => {
  t.equal(classOf('[ca]'), 'ac');
  t.equal(classOf('[a-c]'), 'abc');
  t.equal(classOf('[a-c0-2x-]'), '-012abcx', 'a hyphen at the end is a hyphen');
  t.equal(classOf('[-a]'), '-a', 'and at the start');
  t.equal(classOf('[!b-z0-9]'), '-a');
});

t.test('what is no pattern is refused', async (t) => {
  for (const pattern of ['[', '[]', '[!]', '[ab', '[c-a]', '[é]']) {
    t.throws(
      () => compileGlob(new Words(), pattern),
      { code: 'SALLYPORT_POLICY_INVALID' },
      pattern,
    );
  }
});
