// A client signs in from inside a sandbox: what it gets, what the API gets, and who else gets it.

import { once } from 'node:events';
import { globSync, readFileSync, statSync } from 'node:fs';
import { createServer as createPlainServer, request as requestPlain } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { linesIn, recordsIn } from '../helpers/audit.ts';
import { oauthWorld } from '../helpers/oauth-world.ts';
import { json } from '../helpers/token-endpoint.ts';

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const LOGIN = 'grant_type=authorization_code&code=c&code_verifier=v&client_id=app';
const SENTINEL = { authorization: 'Bearer proxy-managed' };

async function signInWorld(t: Test) {
  const world = await oauthWorld(t);
  const { client } = world.world;
  const { endpoint, api } = world;
  await client.post('/secrets/oauth', {
    name: 'crm',
    token_url: endpoint.url,
    sign_in_inside: true,
    hosts: [`localhost:${api}`],
  });
  endpoint.instead = (response, { form }) => {
    const { grant_type: grant, code, refresh_token: refresh } = form;
    if (code !== 'c' && refresh !== 'REAL-refresh')
      return json(response, 400, { error: 'invalid_grant' });
    const tokens = grant === 'refresh_token' ? { access_token: 'REAL-2' } : LOGGED_IN;
    return json(response, 200, { token_type: 'Bearer', expires_in: 3_600, ...tokens });
  };
  const login = (content = LOGIN, headers: object = FORM) =>
    world.ask(endpoint.port, '/token', { ...headers }, content);
  const stateOf = async () => {
    const { secrets } = await client.get<{ secrets: { scope: string; oauth: object }[] }>(
      '/secrets',
    );
    return secrets.map(({ scope, oauth }) => [scope, (oauth as { state: string }).state]);
  };
  return { ...world, client, login, stateOf };
}

const LOGGED_IN = {
  access_token: 'REAL-1',
  refresh_token: 'REAL-refresh',
  id_token: 'eyJh.eyJzdWIiOiJtZSJ9.REALsignature',
};

t.test('the sandbox gets sentinels; the API gets the token; files get neither', async (t) => {
  const { world, endpoint, api, seen, ask, login, stateOf } = await signInWorld(t);
  t.strictSame(await stateOf(), [['(global)', 'signed-out']]);
  t.equal((await ask(api, '/', SENTINEL)).status, 200);
  t.match(seen.at(-1)?.headers, SENTINEL, 'before it signs in, its requests go as they are');
  const early = await login('grant_type=refresh_token&refresh_token=proxy-managed');
  t.match(early, { status: 400, content: '{"error":"invalid_grant"}' });
  t.strictSame(endpoint.asked, []);

  const wrong = await login('grant_type=authorization_code&code=wrong');
  t.match(wrong, { status: 400, content: '{"error":"invalid_grant"}' });
  const answer = await login();
  t.equal(answer.status, 200);
  const { access_token: access, refresh_token: refresh, ...rest } = JSON.parse(answer.content);
  t.match(access, /^proxy-managed-oat-[0-9a-f]{32}$/);
  t.match(refresh, /^proxy-managed-ort-[0-9a-f]{32}$/);
  t.strictSame(rest, {
    token_type: 'Bearer',
    expires_in: 3_600,
    id_token: `eyJh.eyJzdWIiOiJtZSJ9.${access}`,
  });
  t.match(answer.headers, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  t.match(endpoint.asked.at(-1), { form: { code: 'c', code_verifier: 'v', client_id: 'app' } });
  t.strictSame(await stateOf(), [
    ['(global)', 'signed-out'],
    ['box', 'ok'],
  ]);
  await ask(api, '/', { authorization: `Bearer ${access}` });
  t.match(seen.at(-1)?.headers, { authorization: 'Bearer REAL-1' });

  const asked = endpoint.asked.length;
  const young = await login(`grant_type=refresh_token&refresh_token=${refresh}&client_id=app`);
  t.match(JSON.parse(young.content), { access_token: access, refresh_token: refresh });
  t.equal(endpoint.asked.length, asked, 'the one there is quite new');
  await world.instance.stop(0);
  const folder = dirname(world.paths.state);
  const files = globSync('**', { cwd: folder }).map((path) => join(folder, path));
  const telling = files.filter(
    (path) => statSync(path).isFile() && readFileSync(path, 'latin1').includes('REAL'),
  );
  t.strictSame(telling, []);
});

t.test('what one sandbox got is no use to another, nor elsewhere', async (t) => {
  const { world, endpoint, api, seen, ask, login } = await signInWorld(t);
  const { client, paths } = world;
  const mine = JSON.parse((await login()).content);
  const { proxy_url: other } = await client.post<{ proxy_url: string }>('/sandbox', {
    name: 'other',
  });
  const theirs = JSON.parse(
    (await ask(endpoint.port, '/token', { ...FORM }, LOGIN, other)).content,
  );
  t.not(theirs.access_token, mine.access_token);
  t.not(theirs.refresh_token, mine.refresh_token);
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  t.equal((await ask(api, '/', bearer(theirs.access_token), undefined, other)).status, 200);

  const [reached, asked] = [seen.length, endpoint.asked.length];
  const stolen = `grant_type=refresh_token&refresh_token=${mine.refresh_token}`;
  for (const refused of [
    await ask(api, '/', bearer(mine.access_token), undefined, other),
    await ask(api, `/?access_token=${mine.access_token}`, {}, undefined, other),
    await ask(api, '/', bearer(mine.id_token), undefined, other),
    await ask(endpoint.port, '/token', { ...FORM }, stolen, other),
    await ask(endpoint.port, '/other', bearer(mine.access_token)),
  ]) {
    t.match(refused, { status: 403, content: 'SALLYPORT_CREDENTIAL_MISUSED' });
  }
  t.strictSame([seen.length, endpoint.asked.length], [reached, asked]);
  await world.instance.stop(0);
  const misused = recordsIn(paths.audit).filter(
    ({ code }) => code === 'SALLYPORT_CREDENTIAL_MISUSED',
  );
  t.strictSame(
    misused.map(({ sandbox, port }) => [sandbox, port]),
    [
      ['other', api],
      ['other', api],
      ['other', api],
      ['other', endpoint.port],
      ['box', endpoint.port],
    ],
  );
  t.notMatch(linesIn(paths.audit).join(), /proxy-managed-o.t/);
});

t.test('who has to sign in anew is told so in the words of its protocol', async (t) => {
  const { endpoint, api, seen, ask, login, stateOf } = await signInWorld(t);
  const give = endpoint.instead;
  endpoint.instead = (response) => json(response, 200, { ...LOGGED_IN, expires_in: 2 });
  const { access_token: access, refresh_token: refresh } = JSON.parse((await login()).content);
  endpoint.instead = (response) => json(response, 400, { error: 'invalid_grant' });
  await new Promise((resolve) => setTimeout(resolve, 1_100)); // Half of its life.
  const bearer = { authorization: `Bearer ${access}` };
  const withdrawn = await ask(api, '/', bearer);
  t.match(withdrawn, { status: 502, content: 'SALLYPORT_CREDENTIAL_UNAVAILABLE' });
  t.strictSame(await stateOf(), [
    ['(global)', 'signed-out'],
    ['box', 'refused'],
  ]);
  t.equal((await ask(api, '/', bearer)).status, 200);
  t.match(seen.at(-1)?.headers, bearer, 'for the API to refuse');
  const again = await login(`grant_type=refresh_token&refresh_token=${refresh}`);
  t.match(again, { status: 400, content: '{"error":"invalid_grant"}' });
  endpoint.instead = give;
  t.equal(JSON.parse((await login()).content).access_token, access);
  await ask(api, '/', bearer);
  t.match(seen.at(-1)?.headers, { authorization: 'Bearer REAL-1' });
});

t.test('JSON clients; and what the host renews with afterwards', async (t) => {
  const { login, endpoint, ask, api, seen, world } = await signInWorld(t);
  const body = { grant_type: 'authorization_code', code: 'c', client_id: 'js' };
  endpoint.instead = (response, { headers }) => {
    if (headers['content-type'] !== 'application/json') json(response, 415, {});
    else json(response, 200, { ...LOGGED_IN, token_type: 'Bearer', expires_in: 2 });
  };
  const headers = { 'content-type': 'application/json' };
  t.equal((await login(JSON.stringify(body), headers)).status, 200);
  endpoint.instead = (response, { headers }) => {
    t.equal(headers['content-type'], 'application/json');
    json(response, 200, { access_token: 'REAL-2', token_type: 'Bearer', expires_in: 3_600 });
  };
  await new Promise((resolve) => setTimeout(resolve, 1_100)); // Half of its life.
  await ask(api, '/', SENTINEL);
  t.match(seen.at(-1)?.headers, { authorization: 'Bearer REAL-2' });
  t.match(await world.client.get('/secrets'), { secrets: [{}, { oauth: { client_id: 'js' } }] });
});

t.test('answers that cannot be read are not passed on, and nothing is kept', async (t) => {
  const { login, endpoint, stateOf, ask } = await signInWorld(t);
  const real = JSON.stringify({ ...LOGGED_IN, token_type: 'Bearer' });
  for (const [why, fields, content] of [
    ['JSON', {}, 'access_token=REAL-1&token_type=bearer'],
    ['JSON', { 'content-encoding': 'gzip' }, gzipSync(real)],
    ['more than 65536 bytes', {}, `{"access_token":"REAL-1","x":"${'x'.repeat(70_000)}"}`],
    ['a place of its own', {}, '{"access_token":"REAL-1","also":"REAL-1"}'],
    ['no bearer token', {}, '{"access_token":"REAL-1","token_type":"DPoP"}'],
  ] as const) {
    endpoint.instead = (response) => response.writeHead(200, fields).end(content);
    const answer = await login();
    t.match(answer, { status: 502, content: 'SALLYPORT_TOKEN_EXCHANGE_REFUSED' });
    t.match(answer.content, why);
    t.notMatch(JSON.stringify(answer), 'REAL');
  }
  endpoint.instead = (response) => response.writeHead(500, { 'x-token': 'REAL' }).end();
  t.match(await login(), { status: 500, content: '', headers: { 'x-token': undefined } });
  endpoint.instead = (response) => response.writeHead(302, { location: '/?t=REAL' }).end();
  t.match(await login(), { status: 302, headers: { location: undefined } });
  const asked = endpoint.asked.length;
  const large = await login(`x=${'x'.repeat(70_000)}`);
  t.match(large, { status: 502, content: 'the request has more than 65536 bytes' });
  const upgrade = { connection: 'upgrade', upgrade: 'websocket' };
  t.match(await ask(endpoint.port, '/token', upgrade), {
    status: 502,
    content: /nothing to upgrade/,
  });
  t.equal(endpoint.asked.length, asked);
  t.strictSame(await stateOf(), [['(global)', 'signed-out']]);
});

t.test('every spelling of the endpoint is the endpoint', async (t) => {
  const { endpoint, ask } = await signInWorld(t);
  for (const path of [
    '/token?a=1',
    '//token',
    '/%74oken',
    '/x/../token',
    '/token/',
    '/TOKEN',
    '/token;a',
  ]) {
    const answer = await ask(endpoint.port, path, { ...FORM }, LOGIN);
    t.notMatch(answer.content, 'REAL', path);
    t.match(answer.content, 'proxy-managed-oat-', path);
  }
  endpoint.instead = (response) => response.end('REAL page');
  t.match(await ask(endpoint.port, '/another'), { status: 200, content: 'REAL page' });
});

t.test('without TLS nothing is asked', async (t) => {
  const { world, endpoint } = await signInWorld(t);
  const plain = createPlainServer((_, response) => response.end('REAL')).listen(0, '127.0.0.1');
  await once(plain, 'listening');
  t.teardown(() => plain.close());
  const { port } = plain.address() as AddressInfo;
  await world.client.post('/policy/network/rules', {
    decision: 'allow',
    resources: `localhost:${port}`,
  });
  const proxy = Number(world.instance.status().listen.split(':')[1]);
  const path = `http://localhost:${port}/token`;
  const asked = requestPlain({
    host: '127.0.0.1',
    port: proxy,
    path,
    method: 'POST',
    headers: { host: `localhost:${port}` },
    agent: false,
  });
  asked.end(LOGIN);
  const [answer] = await once(asked, 'response');
  t.equal(answer.statusCode, 502);
  answer.resume();
  t.strictSame(endpoint.asked, []);
});
