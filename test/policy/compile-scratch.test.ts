import t from 'tap';
import { Scratch } from '../../src/policy/compile-scratch.ts';

t.test('a buffer that is large enough is kept, each use has its own', async (t) => {
  const scratch = new Scratch();
  const first = scratch.take('nodes', 1_000);
  t.equal(scratch.take('nodes', 10), first);
  t.not(scratch.take('slots', 10), first);
  t.ok(scratch.take('nodes', 1_001).byteLength >= 1_001);
});

t.test('a large buffer is let go when little is asked for', async (t) => {
  const scratch = new Scratch();
  scratch.take('rules', 8_000_000);
  t.equal(scratch.take('rules', 3).byteLength, 4);
});
