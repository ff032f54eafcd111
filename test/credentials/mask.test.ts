// Secrets in bytes that come in any pieces. A mask has the length of what it hides.
import fc from 'fast-check';
import tap from 'tap';
import { SCRUB_HELD_BYTES_MIN, SCRUB_VALUE_BYTES_MIN } from '../../src/base/limits.ts';
import { Masker, maskText, Needles, spellingsOf } from '../../src/credentials/mask.ts';

const SECRET = 'sk-live/+"0123456789=abcdef';

function masked(needles: Needles, chunks: readonly string[]): string {
  const masker = new Masker(needles);
  let text = '';
  for (const chunk of chunks) text += masker.push(Buffer.from(chunk, 'latin1')).toString('latin1');
  text += masker.release().toString('latin1');
  return text;
}

function cut(text: string, at: readonly number[]): string[] {
  const places = [...new Set(at.map((one) => one % (text.length + 1)))].sort((a, b) => a - b);
  return [...places, text.length].map((end, i) => text.slice(places[i - 1] ?? 0, end));
}

tap.test('every spelling of a secret', (t) => {
  const needles = new Needles([SECRET]);
  const words = {
    itself: SECRET,
    'percent-encoded': encodeURIComponent(SECRET),
    'as JSON': JSON.stringify({ token: SECRET }),
    'in Basic': Buffer.from(`user:${SECRET}`).toString('base64'),
    'one further': Buffer.from(`user1:${SECRET} behind`).toString('base64'),
    'two further': Buffer.from(`user12:${SECRET}`).toString('base64url'),
  };
  for (const [how, word] of Object.entries(words)) {
    const { text, count } = maskText(`before ${word} behind`, needles);
    t.equal(text.length, word.length + 14, how);
    t.ok(count > 0, how);
    t.notMatch(text, /0123|MDEy|AxMj|MTIz/, how);
    t.match(text, /^before .*\*{10}.* behind$/, how);
  }
  t.same(maskText('nothing of it', needles), { text: 'nothing of it', count: 0 });
  t.same(new Needles(['']).all, []);
  t.same(spellingsOf('a'), ['a'], 'what is too short in base64 would be found everywhere');
  t.end();
});

tap.test('in whatever pieces it comes', (t) => {
  const letters = (minLength: number) =>
    fc.string({ unit: fc.constantFrom('a', 'b'), minLength, maxLength: 12 });
  fc.assert(
    fc.property(
      fc.array(letters(SCRUB_VALUE_BYTES_MIN), { minLength: 1, maxLength: 3 }),
      fc.array(letters(0), { maxLength: 20 }),
      fc.array(fc.nat(200), { maxLength: 30 }),
      fc.array(fc.nat(20), { maxLength: 4 }),
      (secrets, words, at, which) => {
        const mixed = [...words];
        for (const i of which) mixed.splice(i, 0, secrets[i % secrets.length] as string);
        const text = mixed.join('');
        const needles = new Needles(secrets);
        const shown = masked(needles, cut(text, at));
        const isSame = [...shown].every((letter, i) => letter === '*' || letter === text[i]);
        t.ok(isSame && shown.length === text.length, 'all else stays as it was');
        for (const [from, to] of foundIn(text, secrets)) {
          // A few letters may be gone before it shows that they begin a secret.
          t.match(shown.slice(from + SCRUB_HELD_BYTES_MIN - 1, to), /^\*+$/);
          t.match(maskText(text, needles).text.slice(from, to), /^\*+$/);
        }
      },
    ),
    { numRuns: 300 },
  );
  t.end();
});

function foundIn(text: string, secrets: readonly string[]): [from: number, to: number][] {
  const found: [number, number][] = [];
  for (const secret of secrets) {
    for (let at = text.indexOf(secret); at >= 0; at = text.indexOf(secret, at + 1)) {
      found.push([at, at + secret.length]);
    }
  }
  return found;
}

tap.test('what may be a beginning waits; a few letters do not', (t) => {
  const masker = new Masker(new Needles([SECRET]));
  const push = (text: string): string => masker.push(Buffer.from(text)).toString();
  t.equal(push('data: sk-'), 'data: sk-', 'three letters go on at once');
  t.equal(masker.waits, false);
  t.equal(push('live'), '', 'seven wait');
  t.equal(masker.waits, true);
  t.equal(push('ly, not it'), 'lively, not it');
  t.equal(push(SECRET.slice(0, 8)), '');
  t.equal(masker.release().toString(), SECRET.slice(0, 8), 'less than half shows, when it must');
  t.equal(
    push(`${SECRET.slice(8)}.`),
    `${'*'.repeat(SECRET.length - 8)}.`,
    'and the rest is hidden',
  );
  t.equal(masker.count, 1);
  t.equal(push(SECRET.slice(0, -1)), '');
  t.equal(masker.release().toString(), '*'.repeat(SECRET.length - 1), 'more than half never shows');
  t.equal(push(SECRET.slice(-1)), '*');
  t.end();
});

tap.test('a needle inside the beginning of another', (t) => {
  const masker = new Masker(new Needles(['abc-hidden-xyz-longer', 'hidden']));
  t.equal(masker.push(Buffer.from('abc-hidden-')).toString(), '');
  t.equal(masker.release().toString(), '***********', 'half of the longer one');
  t.equal(masker.push(Buffer.from('q')).toString(), 'q');
  t.end();
});
