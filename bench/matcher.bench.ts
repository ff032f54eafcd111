// Question   What does one decision cost, and how does that grow with the policy?
// Budget     0.5 us at 10^6 rules; growth from 10^3 to 10^6 under 3.
// Method     1 thread. 65 536 questions about random hosts, half in the policy, half not, as new
//            strings each round, as a parser would hand them in; the lane, then the peer, 9 rounds
//            each after 2 discarded; the median round counts. The peer is what one would write
//            first: a Map from names to rule ids, asked for the name and each shorter suffix. Then the
//            lane again, with rules of users, 500 kits and an organisation, asked for sandboxes.
// Read as    The ratio to the Map, and the growth. Nanoseconds compare only within one run.
// Run        npm run bench -- matcher [--smoke]
import { Lane } from '../src/matcher/lane.ts';
import { Publisher } from '../src/matcher/publish.ts';
import type { Question } from '../src/policy/decision.ts';
import { questionsFor, randomHosts, rulesFor, type Sources } from './policy.ts';

const smoke = process.argv.includes('--smoke');
const SIZES = smoke ? [1_000, 10_000] : [1_000, 10_000, 100_000, 1_000_000];
const QUESTIONS = smoke ? 4_096 : 65_536;
const ROUNDS = smoke ? 3 : 9;
const DISCARDED = 2;
const LANE = 63;

type Asked = (question: Question) => boolean;

/** The median nanoseconds a question of a matcher. */
function measure(hosts: readonly string[], matches: Asked, sources: Sources = 'local'): number {
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS + DISCARDED; round++) {
    const nanoseconds = timeOf(matches, questionsFor(hosts, QUESTIONS, sources));
    if (round >= DISCARDED) rounds.push(nanoseconds);
  }
  return rounds.sort((a, b) => a - b)[rounds.length >> 1] ?? 0;
}

function timeOf(matches: Asked, questions: readonly Question[]): number {
  const startMs = performance.now();
  let allowed = 0;
  for (const question of questions) if (matches(question)) allowed++;
  const tookMs = performance.now() - startMs;
  if (allowed === 0 || allowed === questions.length) throw new Error('hits and misses wanted');
  return (tookMs * 1e6) / questions.length;
}

/** The peer: the same verdict object, by string lookups. */
function suffixMap(hosts: readonly string[], ids: readonly string[]): Asked {
  const map = new Map(hosts.map((host, i) => [host, ids[i] ?? '']));
  const match = (host: string): { action: string; rule: string | null } => {
    const exact = map.get(host);
    if (exact !== undefined) return { action: 'allow', rule: exact };
    for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) {
      const rule = map.get(host.slice(dot));
      if (rule !== undefined) return { action: 'allow', rule };
    }
    return { action: 'deny', rule: null };
  };
  return (question) => match(question.host).action === 'allow';
}

const costs: number[] = [];
for (const size of SIZES) {
  const hosts = randomHosts(size);
  const rules = rulesFor(hosts);
  const publisher = await Publisher.create();
  await publisher.publish(rules);
  const lane = new Lane(publisher.memory, publisher.module, LANE);
  const peer = suffixMap(
    hosts,
    rules.map(({ id }) => id),
  );
  const ours: Asked = (question) => lane.match(question).action === 'allow';
  const laneNs = measure(hosts, ours);
  const mapNs = measure(hosts, peer);
  await publisher.publish(rulesFor(hosts, 'mixed'));
  const mixedNs = measure(hosts, ours, 'mixed');
  costs.push(laneNs);
  const ratio = (laneNs / mapNs).toFixed(2);
  process.stdout.write(
    `matcher  ${String(size).padStart(7)} rules  lane ${laneNs.toFixed(0)} ns  map ${mapNs.toFixed(0)} ns  ratio ${ratio}  three sources ${mixedNs.toFixed(0)} ns\n`,
  );
}
const growth = (costs.at(-1) ?? 0) / (costs[0] ?? 1);
process.stdout.write(
  `matcher  growth ${growth.toFixed(2)} from ${SIZES[0]} to ${SIZES.at(-1)} rules  budget 500 ns at 10^6, growth 3\n`,
);
