// One policy, one answer: what `check` and `explain` say beforehand is what workers do, what the audit
// has, and what the log shows; for generated policies of local rules, kits and an organisation.
import { strict as assert } from 'node:assert';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { CheckResult, SandboxIssue } from '../../../src/control/api/schemas.ts';
import type { ExplainResult } from '../../../src/control/api/schemas-tools.ts';
import type { LogListing } from '../../../src/control/audit/log.ts';
import type { GivenRule } from '../../../src/control/policy/policy.ts';
import type { NewRule } from '../../../src/control/policy/rule-input.ts';
import type { Host } from '../../../src/policy/host.ts';
import type { Governance } from '../../../src/policy/precedence.ts';
import { ruleLabel } from '../../../src/policy/reasons.ts';
import { parseResources } from '../../../src/policy/resource.ts';
import type { Rule } from '../../../src/policy/rule.ts';
import { ruleFacts } from '../../../src/policy/rule-facts.ts';
import { hosts, paths, ruleLists } from '../../helpers/arbitraries.ts';
import { startWorld, type World } from '../../helpers/control.ts';

const SANDBOXES = ['one', 'two'] as const;
type Sandbox = (typeof SANDBOXES)[number];

type Question = {
  readonly sandbox: Sandbox;
  readonly host: Host;
  readonly port: number;
  readonly method: string;
  readonly path: string;
};

type Policy = {
  readonly rules: readonly Rule[];
  readonly governance: Governance | null;
  readonly localDenies: 'active' | 'inactive';
  readonly kitAllows: 'active' | 'inactive';
  /** Whether every other rule of a kit is of a phase that its sandbox is not in. */
  readonly waits: boolean;
};

/** What of an audit record this is about. */
type Recorded = Readonly<Record<'verdict', string> & Record<'rule' | 'reason', string | null>>;

const questions: fc.Arbitrary<Question> = fc.record({
  sandbox: fc.constantFrom(...SANDBOXES),
  host: hosts.filter((host) => host !== 'localhost'),
  port: fc.constantFrom(443, 443, 80, 444),
  method: fc.constantFrom('GET', 'POST', 'PUT', 'CONNECT'),
  path: paths,
});

const asked = fc.array(questions, { minLength: 8, maxLength: 8 });

const governances: fc.Arbitrary<Governance> = fc.record({
  organization: fc.constant('org'),
  delegates: fc.constantFrom<Governance['delegates']>([], ['network'], ['filesystem']),
  available: fc.constantFrom(true, true, false),
  supportMessage: fc.constantFrom(null, 'Ask the help desk.'),
});

/** So that a good part is allowed, whatever the dice say. */
const wide: fc.Arbitrary<Rule> = fc.constantFrom<Rule['source']>('local', 'kit').map((source) => ({
  id: 'wide',
  source,
  decision: 'allow',
  scope: 0,
  protocols: ['tcp'],
  resources: parseResources('**'),
}));

const policies: fc.Arbitrary<Policy> = fc.record({
  rules: fc.oneof(
    { weight: 1, arbitrary: ruleLists },
    { weight: 2, arbitrary: fc.tuple(wide, ruleLists).map(([rule, rules]) => [rule, ...rules]) },
  ),
  governance: fc.option(governances, { nil: null, freq: 2 }),
  localDenies: fc.constantFrom('active', 'inactive'),
  kitAllows: fc.constantFrom('active', 'active', 'inactive'),
  waits: fc.boolean(),
});

/** A name server that knows of no name: an allowed request fails, and goes nowhere. */
async function emptyDns(t: Test): Promise<string> {
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => {
    const answer = Buffer.from(query);
    answer.writeUInt16BE(0x8183, 2); // A response: NXDOMAIN (RFC 1035 section 4.1.1).
    socket.send(answer, port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => void socket.close());
  return `127.0.0.1:${socket.address().port}`;
}

async function enforce(world: World, wanted: Policy): Promise<void> {
  const { rules, governance, localDenies, kitAllows, waits } = wanted;
  const { policy } = world.instance;
  const from = (source: Rule['source']): readonly Rule[] =>
    rules.filter((rule) => rule.source === source);
  await policy.govern(null);
  await policy.reset();
  await policy.initialize('deny-all');
  await policy.setSemantics({ localDenies, kitAllows });
  await policy.add(from('local').map(asTyped).filter(isTaken));
  for (const [i] of SANDBOXES.entries()) {
    const kit = from('kit').filter(({ scope }) => scope % 2 === i);
    const rulesOf = kit.map(
      (rule, at): GivenRule =>
        waits && at % 2 === 0 ? { ...given(rule), awaits: 'install' } : given(rule),
    );
    await policy.provision(i + 1, rulesOf); // Sandboxes are numbered from 1, in their order.
  }
  if (governance !== null) await policy.govern(governance, from('remote').map(given));
}

/** As a user would write it. */
function asTyped({ decision, resources, protocols, http, scope }: Rule): NewRule {
  return {
    decision,
    resources: resources.map(({ text }) => text),
    ...(http === undefined
      ? { protocols }
      : { methods: http.methods.length === 0 ? ['ANY'] : http.methods, paths: http.paths }),
    ...(scope !== 0 && { sandbox: SANDBOXES[scope % 2] }),
  };
}

/** Some of what is generated is no rule for users: HTTP rules for addresses, and the like. */
function isTaken(rule: NewRule): boolean {
  try {
    ruleFacts(rule);
    return true;
  } catch {
    return false;
  }
}

function given({ id, decision, resources, protocols, http }: Rule): GivenRule {
  return { id, name: id, decision, resources, protocols, ...(http && { http }) };
}

type Proxy = { readonly port: number; readonly tokens: ReadonlyMap<Sandbox, string> };

/** Sends the request through the proxy. @returns the status */
async function send({ port, tokens }: Proxy, question: Question): Promise<number> {
  const { sandbox, method } = question;
  const outgoing = request({
    host: '127.0.0.1',
    port,
    method,
    path: targetOf(question),
    headers: { host: placeOf(question), 'proxy-authorization': tokens.get(sandbox) },
    agent: false,
  });
  outgoing.end();
  if (method === 'CONNECT') {
    const [{ statusCode }, socket] = await once(outgoing, 'connect');
    socket.destroy();
    return statusCode;
  }
  const [response] = await once(outgoing, 'response');
  response.resume();
  await once(response, 'close');
  return response.statusCode;
}

function targetOf(question: Question): string {
  const place = placeOf(question);
  return question.method === 'CONNECT' ? place : `http://${place}${question.path}`;
}

function placeOf({ host, port }: Question): string {
  return `${host}:${port}`;
}

/** The records after the first `skipped` ones, once there are `wanted` of them. */
async function recorded(world: World, skipped: number, wanted: number): Promise<Recorded[]> {
  for (;;) {
    const { audit: folder } = world.paths;
    const files = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
    const text = files.map((name) => readFileSync(join(folder, name), 'utf8')).join('');
    const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
    const records = lines.slice(0, -1).map((line) => JSON.parse(line) as Recorded);
    const exchanges = records.filter(({ verdict }) => verdict !== undefined);
    if (exchanges.length >= skipped + wanted) return exchanges.slice(skipped);
    await sleep(10);
  }
}

type Settled = CheckResult & {
  /** A tunnel whose requests are judged: it is in the audit, but no decision for the log. */
  readonly opened: boolean;
};

/** @returns what check says, after it agreed with explain and the answer that the request got. */
async function settled(world: World, proxy: Proxy, question: Question): Promise<Settled> {
  const { sandbox, method } = question;
  const asked = { target: targetOf(question), sandbox_id: sandbox, method };
  const check = await world.client.post<CheckResult>('/policy/network/check', asked);
  const explained = await world.client.post<ExplainResult>('/policy/network/explain', asked);
  assert.equal(explained.allowed, check.allowed, 'explain and check');
  assert.equal(explained.rule, check.matched_rule ?? check.rule, 'the rule that decides');
  assert.equal(explained.reason, check.reason, 'the reason');
  const status = await send(proxy, question);
  const opened = method === 'CONNECT' && status === 200;
  assert.equal(status, statusFor(check, opened), 'the answer that the request gets');
  return { ...check, opened };
}

function statusFor({ allowed }: CheckResult, opened: boolean): number {
  if (!allowed) return 403;
  return opened ? 200 : 502;
}

function compare(check: CheckResult, record: Recorded | undefined): void {
  assert.equal(record?.verdict, check.allowed ? 'allow' : 'deny', 'the audit');
  const rule = record?.rule ?? null;
  assert.equal(rule === null ? undefined : ruleLabel(rule), check.matched_rule ?? check.rule);
  if (!check.allowed) assert.equal(record?.reason, check.reason);
}

/** Whether a row is there, under the verdict, and with the rule that allows it. */
function isListed(check: Settled, question: Question, log: LogListing): boolean {
  if (check.opened) return true;
  const rows = check.allowed ? log.allowed_hosts : log.blocked_hosts;
  return rows.some(
    ({ host, vm_name: name, rule }) =>
      host === placeOf(question) &&
      name === question.sandbox &&
      (!check.allowed || rule === check.matched_rule),
  );
}

t.test('check, explain, enforcement, audit and log agree', { timeout: 120_000 }, async (t) => {
  const world = await startWorld(t, { dnsServers: [await emptyDns(t)] });
  const tokens = new Map<Sandbox, string>();
  for (const name of SANDBOXES) {
    const { proxy_url: url } = await world.client.post<SandboxIssue>('/sandbox', { name });
    const { username, password } = new URL(url);
    tokens.set(name, `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`);
  }
  const proxy = { port: Number(world.instance.status().listen.split(':').at(-1)), tokens };
  const tally = { asked: 0, allowed: 0 };
  await fc.assert(
    fc.asyncProperty(policies, asked, async (policy, questions) => {
      await enforce(world, policy);
      const checks: Settled[] = [];
      for (const question of questions) checks.push(await settled(world, proxy, question));
      const records = await recorded(world, tally.asked, questions.length);
      const log = await world.client.get<LogListing>('/network/log');
      tally.asked += questions.length;
      tally.allowed += checks.filter(({ allowed }) => allowed).length;
      for (const [i, question] of questions.entries()) {
        const check = checks[i] ?? assert.fail('a question without an answer');
        compare(check, records[i]);
        assert.ok(isListed(check, question, log), `the log has ${placeOf(question)}`);
      }
    }),
    { numRuns: 40 },
  );
  t.ok(tally.allowed > tally.asked / 40, `a part was allowed: ${JSON.stringify(tally)}`);
  t.ok(tally.allowed < tally.asked / 2, 'and a part was not');
});
