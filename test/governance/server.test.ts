// The public Governance API as our server speaks it, over real sockets: src/governance/routes.ts,
// src/governance/organization.ts, src/governance/store.ts, src/governance/errors.ts and
// src/governance/tokens.ts; src/control/api/request-faults.ts words what does not fit.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { Organization } from '../../src/governance/organization.ts';
import { serveGovernance } from '../../src/governance/server.ts';
import { GovernanceStore } from '../../src/governance/store.ts';
import { issueToken, revokeToken } from '../../src/governance/tokens.ts';
import { localhostCertificate } from '../helpers/certificates.ts';
import { temporaryFolder } from '../helpers/control.ts';
import { callerOf, startGovernance } from '../helpers/governance.ts';

const RULE = {
  name: 'allow AI',
  actions: ['connect:tcp'],
  resources: ['ai.test', '*.ai.test:443'],
  decision: 'allow',
};

const failed = (status: number, code: string, message: RegExp | string = /./) => ({
  status,
  body: { error: { code, message } },
});

t.test('policies: made, listed, changed, removed', async (t) => {
  const { admin, reader } = await startGovernance(t);
  const made = await admin('POST', '/policies', { name: 'default network' });
  t.match(made, {
    status: 201,
    body: {
      id: /^pol_[0-9a-f]{32}$/,
      name: 'default network',
      org: 'my-org',
      scope: { teams: [] },
      created_at: /^\d{4}-.*Z$/,
      updated_at: /^\d{4}-.*Z$/,
      type: 'allowlist_v0',
      allowlist_v0: { domain: 'network', rules: [] },
    },
  });
  const { id } = made.body;
  t.match(await admin('POST', '/policies', { name: 'default network' }), failed(409, 'conflict'));
  const { allowlist_v0: _, ...summary } = made.body;
  t.strictSame((await reader('GET', '/policies')).body, { data: [summary], next_page_token: null });
  t.strictSame((await reader('GET', `/policies/${id}`)).body, made.body);

  const scoped = await admin('PATCH', `/policies/${id}`, { scope: { teams: ['a', 'b'] } });
  t.match(scoped, { status: 200, body: { old: made.body, new: { scope: { teams: ['a', 'b'] } } } });
  t.ok(scoped.body.new.updated_at > made.body.updated_at);
  const named = await admin('PATCH', `/policies/${id}`, { name: 'other', scope: {} });
  t.match(named.body.new, { name: 'other', scope: { teams: ['a', 'b'] } }, 'by sub-field');
  const cleared = await admin('PATCH', `/policies/${id}`, { scope: { teams: [] } });
  t.strictSame(cleared.body.new.scope, { teams: [] });

  t.match(await admin('DELETE', `/policies/${id}`), { status: 200, body: { deleted: { id } } });
  for (const [method, path, body] of [
    ['GET', `/policies/${id}`],
    ['PATCH', `/policies/${id}`, { name: 'x' }],
    ['DELETE', `/policies/${id}`],
    ['POST', `/policies/${id}/rules`, RULE],
    ['DELETE', `/policies/${id}/rules/rule_1`],
  ] as const) {
    t.match(await admin(method, path, body), failed(404, 'not_found', `there is no policy ${id}`));
  }
});

t.test('rules: added, changed, removed', async (t) => {
  const { admin } = await startGovernance(t);
  const { id } = (await admin('POST', '/policies', { name: 'one' })).body;
  const path = `/policies/${id}/rules`;
  const added = await admin('POST', path, RULE);
  t.match(added, { status: 201, body: { id: /^rule_[0-9a-f]{32}$/, ...RULE } });
  const one = `${path}/${added.body.id}`;
  const changed = await admin('PATCH', one, { decision: 'deny', resources: ['bad.test'] });
  t.strictSame(changed.body, {
    old: added.body,
    new: { ...added.body, decision: 'deny', resources: ['bad.test'] },
  });
  const http = { actions: ['request:get'], http_resources: [{ host: 'a.test', path: '/x' }] };
  t.match(await admin('PATCH', one, http), failed(400, 'invalid_argument', /not to resources/));
  const turned = await admin('PATCH', one, { ...http, resources: null });
  t.strictSame(turned.body.new, { id: added.body.id, name: RULE.name, decision: 'deny', ...http });
  const whole = await admin('GET', `/policies/${id}`);
  t.strictSame(whole.body.allowlist_v0, { domain: 'network', rules: [turned.body.new] });
  t.match(await admin('PATCH', `${path}/rule_none`, { name: 'x' }), failed(404, 'not_found'));
  t.match(await admin('DELETE', one), { status: 200, body: { deleted: turned.body.new } });

  const mount = { ...RULE, actions: ['read', 'write'], resources: ['~/**'] };
  t.equal(
    (await admin('POST', path, mount)).status,
    201,
    'a policy without rules may become either',
  );
  t.equal((await admin('GET', `/policies/${id}`)).body.allowlist_v0.domain, 'filesystem');
  t.match(await admin('POST', path, RULE), failed(400, 'invalid_argument', /network in a policy/));
});

t.test('what no daemon could enforce is not taken', async (t) => {
  const { admin } = await startGovernance(t);
  const { id } = (await admin('POST', '/policies', { name: 'one' })).body;
  const cedar = { name: 'two', cedar_v1: { text: 'permit(principal);', schema_url: 'https://x' } };
  t.match(await admin('POST', '/policies', cedar), failed(501, 'unimplemented', /cedar_v1/));
  t.match(await admin('PATCH', `/policies/${id}`, cedar), failed(501, 'unimplemented'));
  const bad: [object, RegExp][] = [
    [{ ...RULE, resources: ['0.0.0.0/0'] }, /all addresses/],
    [{ ...RULE, resources: [] }, /resources/],
    [{ ...RULE, resources: undefined }, /no resources/],
    [{ ...RULE, actions: ['connect:sctp'] }, /connect:sctp/],
    [{ ...RULE, name: '' }, /name/],
    [{ ...RULE, name: 'a\u001b[2J' }, /cannot be shown/],
    [{ ...RULE, decision: 'maybe' }, /decision/],
    [{ ...RULE, colour: 'red' }, /colour/],
  ];
  for (const [rule, message] of bad) {
    const refused = await admin('POST', `/policies/${id}/rules`, rule);
    t.match(refused, failed(400, 'invalid_argument', message));
  }
  t.strictSame((await admin('GET', `/policies/${id}`)).body.allowlist_v0.rules, []);
  const many = {
    ...RULE,
    resources: Array.from({ length: 9_000 }, (_, i) => `host-${i}.example.test`),
  };
  t.equal((await admin('POST', `/policies/${id}/rules`, many)).status, 201);
  const over = await admin('POST', `/policies/${id}/rules`, many);
  t.match(over, failed(403, 'limit_exceeded', /400000 bytes/));
  t.equal((await admin('GET', `/policies/${id}`)).body.allowlist_v0.rules.length, 1);
  const huge = { ...RULE, resources: ['x'.repeat(1_100_000)] };
  t.match(await admin('POST', `/policies/${id}/rules`, huge), failed(403, 'limit_exceeded'));
});

t.test('pages and limits', async (t) => {
  const { admin, reader } = await startGovernance(t);
  for (let i = 0; i < 100; i++) {
    t.equal((await admin('POST', '/policies', { name: `p${i}` })).status, 201);
  }
  t.match(await admin('POST', '/policies', { name: 'more' }), failed(403, 'limit_exceeded'));
  const seen: string[] = [];
  let token = '';
  do {
    const { body } = await reader('GET', `/policies?page_size=30${token}`);
    seen.push(...body.data.map(({ name }: { name: string }) => name));
    token = body.next_page_token === null ? '' : `&page_token=${body.next_page_token}`;
  } while (token !== '');
  t.strictSame(
    seen,
    Array.from({ length: 100 }, (_, i) => `p${i}`),
  );
  for (const query of ['page_size=0', 'page_size=101', 'page_token=nonsense', 'size=3']) {
    t.match(await reader('GET', `/policies?${query}`), failed(400, 'invalid_argument'), query);
  }
  const [{ id }] = (await reader('GET', '/policies?page_size=1')).body.data;
  for (let i = 0; i < 250; i++) await admin('POST', `/policies/${id}/rules`, RULE);
  t.match(await admin('POST', `/policies/${id}/rules`, RULE), failed(403, 'limit_exceeded', /250/));
});

t.test(
  'tokens: nothing without one, readers change nothing, a removed one opens nothing',
  async (t) => {
    const { url, path, store, admin, reader, tokens } = await startGovernance(t);
    for (const token of ['', 'nonsense', `${tokens.admin}x`, 'x'.repeat(300)]) {
      const stranger = callerOf(url, token);
      for (const target of [
        '/policies',
        '/settings',
        '/audit',
        `${new URL(url).origin}/openapi.json`,
        '/%zz',
        `/policies/${'x'.repeat(300)}`,
      ]) {
        t.match(await stranger('GET', target), failed(401, 'unauthenticated'));
      }
    }
    t.match(await reader('GET', '/%zz'), failed(400, 'invalid_argument'));
    t.equal((await reader('GET', '/policies')).status, 200);
    for (const [method, target, body] of [
      ['POST', '/policies', { name: 'x' }],
      ['PATCH', '/policies/pol_1', { name: 'x' }],
      ['DELETE', '/policies/pol_1'],
      ['POST', '/policies/pol_1/rules', RULE],
      ['PATCH', '/policies/pol_1/rules/rule_1', { name: 'x' }],
      ['DELETE', '/policies/pol_1/rules/rule_1'],
      ['PATCH', '/settings', { support_message: 'x' }],
      ['GET', '/audit'],
    ] as const) {
      const refused = await reader(method, target, body);
      t.match(refused, failed(403, 'permission_denied', 'the token "fleet" may only read'));
    }
    t.match(await admin('GET', `${url.replace('my-org', 'other')}/governance/policies`), {
      status: 404,
      body: { error: { message: 'there is no organization other' } },
    });
    const kept =
      readFileSync(path).toString('latin1') + readFileSync(`${path}-wal`).toString('latin1');
    t.notMatch(kept, tokens.admin, 'tokens are not kept');
    t.match(kept, createHash('sha256').update(tokens.admin).digest('hex'));
    revokeToken(store, 'fleet');
    t.match(await reader('GET', '/policies'), failed(401, 'unauthenticated'));
    t.throws(() => revokeToken(store, 'fleet'), { code: 'SALLYPORT_NOT_FOUND' });
    t.throws(() => issueToken(store, 'ann', 'admin', systemClock), { code: 'SALLYPORT_CONFLICT' });
    t.throws(() => issueToken(store, 'a\nb', 'admin', systemClock), { code: 'SALLYPORT_USAGE' });
  },
);

t.test('who changed what', async (t) => {
  const { admin } = await startGovernance(t);
  const { id } = (await admin('POST', '/policies', { name: 'one' })).body;
  const rule = (await admin('POST', `/policies/${id}/rules`, RULE)).body;
  await admin('PATCH', `/policies/${id}/rules/${rule.id}`, { decision: 'deny' });
  await admin('POST', `/policies/${id}/rules`, { ...RULE, resources: ['*'] }); // Refused.
  await admin('PATCH', '/settings', { support_message: 'ask us', delegates: ['filesystem'] });
  await admin('DELETE', `/policies/${id}`);
  const { data, next_page_token: next } = (await admin('GET', '/audit?page_size=3')).body;
  t.match(data, [
    { seq: 5, actor: 'ann', action: 'policy.delete', policy_id: id, before: { id }, after: null },
    { action: 'settings.update', policy_id: null, after: { support_message: 'ask us' } },
    { action: 'rule.update', rule_id: rule.id, before: rule, after: { decision: 'deny' } },
  ]);
  const rest = (await admin('GET', `/audit?page_size=3&page_token=${next}`)).body;
  t.match(rest, {
    data: [{ action: 'rule.create', after: rule }, { action: 'policy.create' }],
    next_page_token: null,
  });
});

t.test('the audit keeps its latest entries, as many as it is told', async (t) => {
  const store = GovernanceStore.open(join(temporaryFolder(t), 'governance.db'));
  t.teardown(() => store.close());
  const seqs = () => store.audit(null, 100).map(({ seq }) => seq);
  const wide = new Organization('my-org', store, systemClock);
  for (const name of ['a', 'b', 'c', 'd', 'e']) wide.create('ann', { name });
  t.strictSame(seqs(), [5, 4, 3, 2, 1]);
  const narrow = new Organization('my-org', store, systemClock, 3);
  t.throws(() => narrow.create('ann', { name: 'a' }), { code: 'conflict' });
  t.strictSame(seqs(), [5, 4, 3, 2, 1], 'what is refused takes none away');
  narrow.create('ann', { name: 'f' });
  t.strictSame(seqs(), [6, 5, 4]);
  const { data, next_page_token: next } = narrow.audit(3, undefined);
  t.strictSame([data.length, next], [3, null]);
});

t.test('settings, entity tags and OpenAPI', async (t) => {
  const { url, admin, reader } = await startGovernance(t);
  t.strictSame((await reader('GET', '/settings')).body, { support_message: null, delegates: [] });
  await admin('PATCH', '/settings', { support_message: 'ask us' });
  await admin('PATCH', '/settings', { delegates: ['network'] });
  const settings = await reader('GET', '/settings');
  t.strictSame(settings.body, { support_message: 'ask us', delegates: ['network'] });
  const bad = await admin('PATCH', '/settings', { support_message: 'a\nb' });
  t.match(bad, failed(400, 'invalid_argument', /support_message/));
  const { etag = '' } = settings.headers;
  t.match(await reader('GET', '/settings', undefined, { 'if-none-match': etag }), {
    status: 304,
    body: null,
  });
  await admin('PATCH', '/settings', { support_message: null });
  const fresh = await reader('GET', '/settings', undefined, { 'if-none-match': etag });
  t.match(fresh, { status: 200, body: { support_message: null } });
  const { body } = await admin('GET', `${new URL(url).origin}/openapi.json`);
  t.equal(body.openapi, '3.1.0');
  t.strictSame(Object.keys(body.paths).sort(), [
    '/v2/orgs/{org}/governance/audit',
    '/v2/orgs/{org}/governance/policies',
    '/v2/orgs/{org}/governance/policies/{policy_id}',
    '/v2/orgs/{org}/governance/policies/{policy_id}/rules',
    '/v2/orgs/{org}/governance/policies/{policy_id}/rules/{rule_id}',
    '/v2/orgs/{org}/governance/settings',
  ]);
  t.match(await admin('GET', '/nothing'), failed(404, 'not_found'));
});

t.test('a list differs after each change, whatever the clock does', async (t) => {
  const store = GovernanceStore.open(join(temporaryFolder(t), 'governance.db'));
  t.teardown(() => store.close());
  const clock = { wallMs: () => 1_000, monotonicMs: () => 0 };
  const organization = new Organization('my-org', store, clock);
  const { id } = organization.create('ann', { name: 'one' });
  const seen = new Set([JSON.stringify(organization.list(100, undefined))]);
  const draft = { ...RULE, decision: 'allow' as const };
  for (let i = 0; i < 3; i++) {
    organization.addRule('ann', id, draft);
    seen.add(JSON.stringify(organization.list(100, undefined)));
  }
  t.equal(seen.size, 4);
});

t.test('TLS, and nothing else for others', async (t) => {
  const store = GovernanceStore.open(join(temporaryFolder(t), 'governance.db'));
  t.teardown(() => store.close());
  const organization = new Organization('my-org', store, systemClock);
  const common = { port: 0, version: '0', report: () => {} };
  const open = serveGovernance(organization, store, { ...common, host: '0.0.0.0', tls: null });
  await t.rejects(open, { code: 'SALLYPORT_USAGE', message: /need TLS/ });
  const { authority, ...tls } = localhostCertificate();
  const { url, close } = await serveGovernance(organization, store, {
    ...common,
    host: '0.0.0.0',
    tls,
  });
  t.match(url, /^https:\/\/0\.0\.0\.0:\d+\/v2\/orgs\/my-org$/);
  const { port } = new URL(url);
  const status = await new Promise((resolve, reject) => {
    const path = '/v2/orgs/my-org/governance/policies';
    get({ host: 'localhost', port, path, ca: authority, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    }).on('error', reject);
  });
  t.equal(status, 401);
  const taken = serveGovernance(organization, store, {
    ...common,
    host: '0.0.0.0',
    port: Number(port),
    tls,
  });
  await t.rejects(taken, { code: 'SALLYPORT_CONFLICT', message: /cannot listen on/ });
  await close();
});
