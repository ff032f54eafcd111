// Pieces of content, held as one.
import t from 'tap';
import { Gathering } from '../../src/base/gathering.ts';

t.test('what came, in order', async (t) => {
  const gathering = new Gathering();
  t.strictSame([gathering.length, gathering.bytes().length], [0, 0]);
  const pieces = [1, 0, 1_023, 1, 5_000, 3].map((length, i) => Buffer.alloc(length, 97 + i));
  for (const piece of pieces) gathering.add(piece);
  const all = Buffer.concat(pieces);
  t.ok(gathering.bytes().equals(all));
  t.equal(gathering.length, all.length);
  const before = gathering.bytes();
  gathering.add(Buffer.from('later'));
  t.ok(before.equals(all));
  pieces[0]?.fill(0);
  t.equal(gathering.bytes()[0], 97, 'a copy');
  gathering.clear();
  t.equal(gathering.bytes().length, 0);
  t.ok(before.equals(all));
});

t.test('many small pieces take no more than twice their length', async (t) => {
  const gathering = new Gathering();
  for (let i = 0; i < 100_000; i++) gathering.add(Buffer.from('a'));
  t.equal(gathering.bytes().length, 100_000);
  t.ok(gathering.bytes().buffer.byteLength <= 200_000);
});
