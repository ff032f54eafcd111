import t from 'tap';
import { CIDR_BYTES, ENTRY_TCP } from '../../assembly/layout.ts';
import { CidrTries } from '../../src/policy/compile-cidrs.ts';
import { Sets, Words } from '../../src/policy/compile-words.ts';

const WORDS = CIDR_BYTES / 4;

function lengths(tries: CidrTries): number[] {
  const found: number[] = [];
  for (let at = WORDS; at < tries.nodes.length; at += WORDS) found.push(tries.nodes[at] ?? -1);
  return found;
}

t.test('a range above, a range below and a range beside', async (t) => {
  const tries = new CidrTries(new Sets(new Words()));
  const root = tries.root();
  tries.add(root, Uint8Array.of(10, 1, 0, 0), 16, 0, ENTRY_TCP, 0);
  tries.add(root, Uint8Array.of(10, 0, 0, 0), 8, 0, ENTRY_TCP, 1);
  tries.add(root, Uint8Array.of(10, 1, 2, 3), 32, 0, ENTRY_TCP, 2);
  t.strictSame(lengths(tries), [0, 16, 8, 32]);
  tries.add(root, Uint8Array.of(10, 1, 2, 2), 32, 0, ENTRY_TCP, 3);
  t.strictSame(lengths(tries), [0, 16, 8, 32, 31, 32], 'a branch where the two part');
});

t.test('the same range is one node', async (t) => {
  const tries = new CidrTries(new Sets(new Words()));
  const root = tries.root();
  for (let i = 0; i < 3; i++) tries.add(root, new Uint8Array(16).fill(255), 128, 0, ENTRY_TCP, i);
  tries.add(root, new Uint8Array(4), 0, 0, ENTRY_TCP, 4);
  t.strictSame(lengths(tries), [0, 128], 'and everything is the root itself');
});
