import t from 'tap';
import { HASH_DOT, HASH_PRIME } from '../../assembly/layout.ts';
import { HostTries, hashLabel, isGlob, mix, type Place } from '../../src/policy/compile-hosts.ts';
import { Scratch } from '../../src/policy/compile-scratch.ts';
import { Sets, Words } from '../../src/policy/compile-words.ts';

function tries(expected: number): HostTries {
  const words = new Words();
  return new HostTries(words, new Sets(words), expected, new Scratch());
}

function walk(hosts: HostTries, root: number, name: string): Place {
  const place = { node: root, state: 1 };
  for (const label of name.split('.').reverse()) hosts.descend(place, label);
  return place;
}

t.test('a name leads to one node, and another name to another', async (t) => {
  const hosts = tries(4);
  const root = hosts.root(1);
  const names = ['com', 'x.com', 'y.com', 'x.y.com', 'x.x.com', `${'l'.repeat(63)}.com`, 'net'];
  const nodes = names.map((name) => walk(hosts, root, name).node);
  t.equal(new Set(nodes).size, names.length);
  t.strictSame(
    names.map((name) => walk(hosts, root, name).node),
    nodes,
  );
});

t.test('tries of two scopes share nothing', async (t) => {
  const hosts = tries(4);
  const [one, two] = [hosts.root(1), hosts.root(1)];
  t.not(walk(hosts, one, 'x.com').node, walk(hosts, two, 'x.com').node);
});

t.test('nodes are found again after slots and nodes have grown', async (t) => {
  const hosts = tries(1);
  const root = hosts.root(1);
  const names = Array.from({ length: 3_000 }, (_, i) => `h${i}.s${i % 50}.a*b.com`);
  const nodes = names.map((name) => walk(hosts, root, name).node);
  t.strictSame(
    names.map((name) => walk(hosts, root, name).node),
    nodes,
  );
  t.ok(hosts.slots.length >= 2 * 3_053);
});

t.test('a pattern longer than any label is kept whole as nodes grow', async (t) => {
  const pattern = `${'[a-z0-9-]'.repeat(25)}*`;
  for (let before = 0; before < 130; before++) {
    const hosts = tries(1);
    const root = hosts.root(1);
    for (let i = 0; i < before; i++) walk(hosts, root, `n${i}.com`);
    const { node } = walk(hosts, root, `x.${pattern}.com`);
    for (let i = 0; i < 300; i++) walk(hosts, root, `m${i}.com`);
    t.equal(walk(hosts, root, `x.${pattern}.com`).node, node, `behind ${before} names`);
  }
});

t.test('the state is that of all labels, dots between', async (t) => {
  const hosts = tries(4);
  const { state } = walk(hosts, hosts.root(1), 'x.com');
  const com = Math.imul(hashLabel(1, 'com') ^ HASH_DOT, HASH_PRIME);
  t.equal(state, Math.imul(hashLabel(com, 'x') ^ HASH_DOT, HASH_PRIME));
  t.not(mix(state), state);
});

t.test('globs are told from names', async (t) => {
  for (const label of ['*', 'a*', 'a?', '[ab]c']) t.ok(isGlob(label), label);
  for (const label of ['a', 'xn--bcher-kva', '0', 'a-1']) t.notOk(isGlob(label), label);
});
