// Policies and questions for the benches of the matcher: random names under random sites, the same
// at every run.

import type { Question } from '../src/policy/decision.ts';
import type { Host } from '../src/policy/host.ts';
import type { Rule } from '../src/policy/rule.ts';

const TOP_LEVELS = ['com', 'net', 'org', 'io', 'dev'];

/** Numbers 0..2^32-1, the same sequence for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** `count` distinct names of three labels under some 5 000 sites; about 25 bytes each. */
export function randomHosts(count: number): string[] {
  const random = randomNumbers(1);
  return Array.from({ length: count }, (_, i) => {
    const site = random() % 1_000;
    return `h${random().toString(36)}x${i.toString(36)}.site${site}.${TOP_LEVELS[random() % 5]}`;
  });
}

/**
 * - `local`: global rules of users.
 * - `mixed`: of ten rules six are of users, two of the kits of SANDBOXES sandboxes, two of an organisation.
 */
export type Sources = 'local' | 'mixed';

const SANDBOXES = 500;
const MIX = [
  'local',
  'remote',
  'local',
  'kit',
  'local',
  'local',
  'remote',
  'local',
  'kit',
  'local',
];

/** One allow rule a host; every id has the length of a UUID. */
export function rulesFor(hosts: readonly string[], sources: Sources = 'local'): Rule[] {
  return hosts.map((host, i) => {
    const source = sources === 'local' ? 'local' : (MIX[i % MIX.length] as Rule['source']);
    return {
      id: `${i.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`,
      source,
      decision: 'allow',
      scope: source === 'kit' ? 1 + (i % SANDBOXES) : 0,
      protocols: ['tcp'],
      resources: [{ kind: 'host', text: host, prefix: 'none', labels: host.split('.'), port: 0 }],
    };
  });
}

/**
 * `count` questions in random order: half about a host of the policy, half about a sibling of one,
 * each for the sandbox whose rule it is, else for the first.
 * Every host is a new string, so that no lookup profits from a hash that an earlier one left in it.
 */
export function questionsFor(
  hosts: readonly string[],
  count: number,
  sources: Sources = 'local',
): Question[] {
  const random = randomNumbers(2);
  return Array.from({ length: count }, () => {
    const i = random() % hosts.length;
    const known = hosts[i] ?? '';
    const text = random() % 2 === 0 ? known : `q${random() % 1_000}${known}`;
    return {
      scope: sources === 'mixed' ? 1 + (i % SANDBOXES) : 0,
      host: Buffer.from(text).toString('latin1') as Host,
      port: 443,
      protocol: 'tcp',
    };
  });
}
