// Asking an organisation's server: over real HTTP and TLS, with servers that are slow, chatty, false or
// change meanwhile. src/control/governance/source.ts makes rules of what it says, in the shapes of
// src/control/governance/api.ts; src/control/governance/token.ts and src/control/governance/content.ts
// give it the token.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { GOVERNANCE_ANSWER_BYTES_MAX } from '../../../src/base/limits.ts';
import { governanceServer, type ServerOptions } from '../../../src/control/governance/server.ts';
import type { Word } from '../../../src/control/governance/source.ts';
import { tokenInFile, tokenOfCommand } from '../../../src/control/governance/token.ts';
import { localhostCertificate, TestAuthority } from '../../helpers/certificates.ts';
import { temporaryFolder } from '../../helpers/control.ts';
import { errorBody, give, organizationServer, policyOf } from '../../helpers/organization.ts';

const issued = localhostCertificate();
const trusted = async () => createSecureContext({ ca: issued.authority });
const never = new AbortController().signal;
const TOKEN = { token: async () => 'TOKEN' };

function sourceOf(url: string, options: Partial<ServerOptions> = {}) {
  return governanceServer({ url, token: TOKEN, teams: [], trusted, ...options });
}

const ask = (url: string, options: Partial<ServerOptions> = {}): Promise<Word> =>
  sourceOf(url, options).fetch(null, never);

/** @returns the message of the failure, which tells nothing of token or answer. */
async function failure(t: Test, asking: Promise<unknown>): Promise<string> {
  const error = await asking.catch((error: Error) => error);
  t.match(error, { code: /^SALLYPORT_(GOVERNANCE_FAILED|POLICY_INVALID)$/ });
  t.notMatch(String(error), /TOKEN|LEAKED/);
  return error instanceof Error ? error.message : 'none';
}

const names = ({ rules }: Word): string[] => rules.map(({ id }) => id);
const allow = (resources: string) => ({ decision: 'allow' as const, resources: [resources] });

t.test('policies come over TLS, page by page, with what is said beside them', async (t) => {
  const server = await organizationServer(t, { issued });
  server.page = 2;
  server.policies = [1, 2, 3, 4, 5].map((n) => policyOf(n, [allow(`${n}.test`)]));
  t.match(await ask(server.url), {
    organization: 'my-org',
    supportMessage: null,
    delegates: [],
    rules: [1, 2, 3, 4, 5].map((n) => ({
      id: `rule_${n}_1`,
      name: 'rule 1',
      decision: 'allow',
      resources: [{ text: `${n}.test` }],
      protocols: ['tcp'],
      policy: { id: `pol_${n}`, name: `policy ${n}` },
    })),
    expiresMs: null,
  });
  server.settings = { support_message: 'ask us', delegates: ['filesystem'] };
  t.match(await ask(`${server.url}/`), { supportMessage: 'ask us', delegates: ['filesystem'] });
  t.ok(server.asked.every((line) => line.startsWith('GET ')));
});

t.test('a policy for teams is for who is of one of them', async (t) => {
  const server = await organizationServer(t);
  server.policies = [
    policyOf(1, [allow('all.test')], { scope: {} }),
    policyOf(2, [allow('a.test')], { scope: { teams: ['a', 'b'] } }),
    policyOf(3, [allow('c.test')], { scope: { teams: ['c'] }, type: 'cedar_v1' }),
  ];
  t.strictSame(names(await ask(server.url)), ['rule_1_1']);
  t.strictSame(names(await ask(server.url, { teams: ['b', 'x'] })), ['rule_1_1', 'rule_2_1']);
  t.match(await failure(t, ask(server.url, { teams: ['c'] })), 'policy pol_3 is a Cedar policy');
});

t.test('what did not change is not sent again', async (t) => {
  const server = await organizationServer(t);
  server.tags = true;
  server.policies = [policyOf(1, [allow('a.test')]), policyOf(2, [allow('b.test')])];
  const sent: number[] = [];
  server.instead = (_, response) => {
    response.once('finish', () => sent.push(response.statusCode));
    return false;
  };
  const source = sourceOf(server.url);
  const first = await source.fetch(null, never);
  t.strictSame(sent, [200, 200, 200, 404, 304], 'the list again at the end');
  sent.length = 0;
  t.strictSame(await source.fetch(null, never), first);
  t.strictSame(sent, [304, 304, 304, 404, 304]);
  server.policies = [policyOf(1, [allow('c.test')]), policyOf(2, [allow('b.test')])];
  t.match(await source.fetch(null, never), { rules: [{ resources: [{ text: 'c.test' }] }, {}] });
});

t.test('what is read is of one moment', async (t) => {
  const server = await organizationServer(t);
  const before = [policyOf(1, [allow('old.test')]), policyOf(2, [allow('two.test')])];
  const after = [
    policyOf(1, [allow('new.test')], { updated_at: '2026-02-02T00:00:00Z' }),
    policyOf(3, [allow('three.test')]),
  ];
  server.policies = before;
  server.instead = (request) => {
    if (request.url?.endsWith('/pol_1')) server.policies = after; // While it is read.
    return false;
  };
  const { rules } = await ask(server.url);
  t.strictSame(
    rules.map(({ resources: [first] }) => first?.text),
    ['new.test', 'three.test'],
  );
  let n = 0;
  server.instead = (request) => {
    if (request.url?.endsWith('/pol_1')) {
      server.policies = [policyOf(1, [allow('a.test')], { updated_at: String(n++) })];
    }
    return false;
  };
  t.match(await failure(t, ask(server.url)), 'change faster than they can be read');
});

t.test('a token that is refused is asked for once more, and is not sent elsewhere', async (t) => {
  const [server, other] = [await organizationServer(t), await organizationServer(t)];
  server.policies = [policyOf(1, [allow('a.test')])];
  const given: boolean[] = [];
  const token = {
    token: async (fresh: boolean) => {
      given.push(fresh);
      return fresh ? 'TOKEN' : 'OLD';
    },
  };
  t.strictSame(names(await ask(server.url, { token })), ['rule_1_1']);
  t.strictSame(given, [false, true]);
  server.tokens.clear();
  t.match(await failure(t, ask(server.url)), 'the server answered 401 (unauthenticated)');
  server.instead = (_, response) => {
    response.writeHead(302, { location: `${other.url}/governance/policies` }).end();
    return true;
  };
  t.match(await failure(t, ask(server.url)), 'answered 302');
  t.strictSame(other.asked, []);
});

t.test('servers that are not to be believed', async (t) => {
  const server = await organizationServer(t);
  const answer = (body: string | object, headers: Record<string, string> = {}): void => {
    server.instead = (_, response) => {
      response.writeHead(200, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
      return true;
    };
  };
  const cases: [string | object, RegExp][] = [
    ['LEAKED', /without a JSON object/],
    ['3', /without a JSON object/],
    [{}, /the list of policies cannot be read: data/],
    [{ data: [{ id: 'x' }] }, /a policy|policy x cannot be read/],
    [{ data: Array(101).fill(policyOf(1, [])) }, /more than 100 policies/],
    [{ data: [], next_page_token: 'again' }, /more than 10 pages/],
    [`{"data":["${'x'.repeat(GOVERNANCE_ANSWER_BYTES_MAX)}"]}`, /answered with more than/],
  ];
  for (const [body, message] of cases) {
    answer(body);
    t.match(await failure(t, ask(server.url)), message);
  }
  answer({ data: [] }, { 'content-encoding': 'gzip' });
  t.match(await failure(t, ask(server.url)), 'a coding that was not asked for');
  server.instead = (_, response) => {
    give(response, 500, errorBody('internal'));
    return true;
  };
  t.match(await failure(t, ask(server.url)), 'answered 500 (internal)');
  server.instead = null;
  t.match(await failure(t, ask(server.url.replace('my-org', 'other'))), 'no such organization');
  await server.stop();
  t.match(await failure(t, ask(server.url)), 'the server cannot be asked: ECONNREFUSED');
});

t.test('a look can be given up', async (t) => {
  const server = await organizationServer(t);
  const giveUp = new AbortController();
  server.instead = () => {
    giveUp.abort();
    return true; // And never answers.
  };
  await failure(t, sourceOf(server.url).fetch(null, giveUp.signal));
});

t.test('a certificate that does not verify, and URLs that are none', async (t) => {
  const server = await organizationServer(t, { issued });
  const stranger = async () => createSecureContext({ ca: TestAuthority.create().pem });
  const refused = await failure(t, ask(server.url, { trusted: stranger }));
  t.match(refused, /the server cannot be asked: [A-Z_]*(VERIFY|CERT|SELF)/);
  t.strictSame(server.asked, [], 'nothing was sent');
  for (const [url, why] of [
    ['http://example.com/v2/orgs/my-org', /in the clear/],
    ['ftp://localhost/v2/orgs/my-org', /in the clear/],
    ['https://example.com/v2', /is no https/],
    ['https://example.com/v2/orgs/my-org?x=1', /is no https/],
    ['https://example.com/v2/orgs/..%2f', /is no https/],
    ['https://me:secret@example.com/v2/orgs/my-org', /password/],
    ['nonsense', /is no https/],
  ] as const) {
    t.throws(() => sourceOf(url), { code: 'SALLYPORT_USAGE', message: why }, url);
  }
});

t.test('policies that cannot be enforced are refused whole, and told by name', async (t) => {
  const server = await organizationServer(t);
  const good = policyOf(1, [allow('a.test')]);
  const cases: [object, RegExp][] = [
    [policyOf(2, [], { type: 'cedar_v1', cedar_v1: { text: 'permit(principal);' } }), /cedar_v1/],
    [policyOf(2, [], { type: 'later_v9' }), /policy pol_2 is of an unknown type/],
    [policyOf(2, [], { mode: 'audit' }), /policy pol_2 cannot be read: .*mode/],
    [policyOf(2, [{ ...allow('b.test'), only_on: 'Monday' }]), /only_on/],
    [
      policyOf(2, [allow('0.0.0.0/0')]),
      /policy "policy 2" \(pol_2\), rule "rule 1".*all addresses/,
    ],
    [policyOf(2, [allow('b.test,c.test')]), /comma/],
    [policyOf(2, [{ ...allow('b.test'), name: 'a\u001b[2Jb' }]), /cannot be shown/],
    [policyOf(2, [{ ...allow('b.test'), id: 'default-allow-all' }]), /no rule_ id/],
    [policyOf(2, [{ ...allow('b.test'), id: 'rule_1_1' }]), /two rules rule_1_1/],
    [{ ...good, id: 'pol_2', allowlist_v0: undefined }, /allowlist_v0/],
  ];
  for (const [bad, message] of cases) {
    server.policies = [good, bad as typeof good];
    t.match(await failure(t, ask(server.url)), message);
  }
});

t.test('tokens from files and commands', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'token');
  t.match(await failure(t, tokenInFile(file).token(false)), 'cannot be read');
  writeFileSync(file, 'ONE\n', { mode: 0o644 });
  const shared = `others may use the token in ${file}; run chmod 600 ${file}`;
  t.match(await failure(t, tokenInFile(file).token(false)), shared);
  chmodSync(file, 0o600);
  t.equal(await tokenInFile(file).token(false), 'ONE');
  writeFileSync(file, 'two words');
  t.match(await failure(t, tokenInFile(file).token(false)), 'gives no token');
  writeFileSync(file, 'x'.repeat(20_000));
  t.match(await failure(t, tokenInFile(file).token(false)), 'more than 16384 bytes');
  t.match(await failure(t, tokenInFile(folder).token(false)), 'is no file');
  const command = `echo run >> ${join(folder, 'runs')}; wc -l < ${join(folder, 'runs')} | tr -d ' '`;
  const source = tokenOfCommand(command, systemClock, never);
  t.equal(await source.token(false), '1');
  t.equal(await source.token(false), '1', 'kept');
  t.equal(await source.token(true), '2');
  const broken = tokenOfCommand('echo LEAKED; exit 3', systemClock, never);
  t.match(
    await failure(t, broken.token(false)),
    'the command for the governance token ended with 3',
  );
});
