// A token endpoint on the wire: what passes to it, what is held back, what is answered for it. Whole
// sign-ins are in test/e2e/sign-in.test.ts.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:https';
import t, { type Test } from 'tap';
import { SallyportError } from '../../src/base/errors.ts';
import type { ServiceBinding } from '../../src/credentials/binding.ts';
import { oauthBinding } from '../../src/credentials/services.ts';
import { tokenSentinels } from '../../src/credentials/token-endpoints.ts';
import type { SignedIn } from '../../src/credentials/token-exchange.ts';
import {
  ask,
  BINDING,
  certificate,
  http2Inside,
  interceptor,
  listening,
  tlsInside,
} from '../helpers/intercept.ts';
import { outcomeAt, Wire } from '../helpers/wire.ts';

const TOKENS = '{"access_token":"REAL","refresh_token":"REAL-r","token_type":"bearer"}';
const KEY = 'cd'.repeat(32);
const BESIDE = 'ef'.repeat(32);
const templates = { access: 'proxy-managed-oat-{rand}', refresh: 'proxy-managed-ort-{rand}' };
const sentinelsOf = (scope: number) => tokenSentinels({ templates, placeholderKey: KEY }, scope);
const OWN = sentinelsOf(1);
const FOREIGN = sentinelsOf(2);
const SENTINELS = { access_token: OWN.access, refresh_token: OWN.refresh };
const HTTP2_POST = { ':method': 'POST', ':path': '/token' };

type Told = { readonly url: string | undefined; readonly fields: object; readonly content: string };

async function world(
  t: Test,
  more: { signInInside?: boolean; scope?: number; http2?: boolean; beside?: boolean } = {},
) {
  const told: Told[] = [];
  const answer = { content: TOKENS as string | Buffer, status: 200 };
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let content = '';
    for await (const piece of request) content += piece;
    told.push({ url: request.url, fields: request.headers, content });
    response.statusCode = answer.status;
    if (!more.http2) response.statusMessage = 'REAL-reason';
    response.end(answer.content);
  };
  const { key, cert } = certificate;
  const server = more.http2
    ? createSecureServer({ key, cert, allowHTTP1: true }, serve as never)
    : createServer({ key, cert }, serve);
  const port = await listening(t, server);
  const client = {
    tokenUrl: `https://localhost:${port}/token`,
    signInInside: more.signInInside ?? true,
  };
  const given = { id: 'crm-id', scope: more.scope ?? 0, value: 'kept', policy: 'always' } as const;
  const common = { ...given, plaintext: false, onDemand: false, scrub: 'off' } as const;
  const grant = { client, signedOut: false, placeholderKey: KEY };
  const binding: ServiceBinding = oauthBinding('crm', ['localhost'], grant, common);
  const kept: SignedIn[] = [];
  const renewed: string[] = [];
  const state: { failing: boolean } = { failing: false };
  const fail = (): void => {
    if (state.failing) throw new SallyportError('SALLYPORT_CREDENTIAL_UNAVAILABLE', 'not now');
  };
  const grants = {
    renew: async (id: string) => {
      fail();
      renewed.push(id);
    },
    keep: async (signedIn: SignedIn) => {
      fail();
      kept.push(signedIn);
    },
  };
  const another = { client: { ...client, signInInside: false }, signedOut: false };
  const beside = oauthBinding(
    'another',
    ['localhost'],
    { ...another, placeholderKey: BESIDE },
    { ...common, id: 'beside-id', value: 'another' },
  );
  const declared = more.beside ? [beside, binding] : [binding];
  const bindings = [...declared, { ...BINDING, id: 'another', hosts: ['example.com'] }];
  const proxy = await interceptor(t, [port], { bindings, grants });
  return { port, proxy, told, answer, kept, renewed, state };
}

t.test('over HTTP/2, to an origin of either protocol', async (t) => {
  for (const http2 of [true, false]) {
    const { proxy, port, told, kept, answer } = await world(t, { http2 });
    const session = await http2Inside(t, proxy, port);
    const fields = { ...HTTP2_POST, 'accept-encoding': 'gzip', authorization: 'Basic eDp5' };
    const got = await ask(session, fields, 'grant_type=authorization_code&code=c');
    t.strictSame(JSON.parse(got.content), { ...SENTINELS, token_type: 'bearer' });
    t.match(told, [
      {
        content: 'grant_type=authorization_code&code=c',
        fields: { 'accept-encoding': undefined, authorization: 'Basic eDp5' },
      },
    ]);
    t.match(kept, [
      {
        id: 'crm-id',
        scope: 1,
        request: { clientId: 'x', clientSecret: 'y', clientAuth: 'basic' },
        tokens: { accessToken: 'REAL', refreshToken: 'REAL-r', lifeMs: null },
      },
    ]);
    t.match(await outcomeAt(proxy, 0), { injected: 'crm-id', status: 200, code: null });
    answer.content = Buffer.alloc(3_000_000, 'R');
    const large = await ask(session, HTTP2_POST, 'code=c');
    t.match(large, { status: 502, content: /the answer has more than 65536 bytes/ });
    const after = await ask(session, { ...HTTP2_POST, ':path': '/other' }, '');
    t.equal(after.content.length, 3_000_000, 'other paths are nobody’s business');
  }
});

t.test('a path that a server could take for the endpoint', async (t) => {
  const { proxy, port, kept, told } = await world(t);
  const session = await http2Inside(t, proxy, port);
  for (const path of ['/a%2Fb/../token', '/%FF/../t%6Fken', '/token;a%2Fb']) {
    const got = await ask(session, { ...HTTP2_POST, ':path': path }, 'code=c');
    t.strictSame(JSON.parse(got.content), { ...SENTINELS, token_type: 'bearer' }, path);
    t.match(told.at(-1), { url: path, fields: { authorization: undefined } });
  }
  t.equal(kept.length, 3);
});

t.test('content in pieces, and 100 (Continue)', async (t) => {
  const { proxy, port, told } = await world(t);
  const client = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  const head = `POST /token HTTP/1.1\r\nHost: localhost:${port}\r\n`;
  client.send(`${head}Expect: 100-continue\r\nContent-Length: 6\r\n\r\n`);
  await client.until('HTTP/1.1 100 Continue\r\n\r\n');
  client.send('code=c');
  const first = await client.response();
  t.match(first, { status: 200, content: /proxy-managed/ });
  t.notMatch(first.head, 'REAL', 'nor by the reason phrase');
  client.send(`${head}Transfer-Encoding: chunked\r\n\r\n4\r\ncode\r\n`);
  client.send('2\r\n=c\r\n0\r\n\r\n');
  t.match(await client.response(), { status: 200, content: /proxy-managed/ });
  t.match(told, [{ content: 'code=c' }, { content: 'code=c' }]);
  client.send(`HEAD /token HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  t.notMatch(await client.until('\r\n\r\n'), 'REAL');
  client.socket.destroy();
});

t.test('what cannot be kept is not told either', async (t) => {
  const { proxy, port, state, kept, answer } = await world(t);
  const session = await http2Inside(t, proxy, port);
  state.failing = true;
  const got = await ask(session, HTTP2_POST, 'code=c');
  t.match(got, { status: 502, content: /not now/ });
  t.notMatch(got.content, 'REAL');
  state.failing = false;
  answer.status = 400;
  t.match(await ask(session, HTTP2_POST, 'code=c'), { status: 400, content: /proxy-managed/ });
  t.strictSame(kept, [], 'a failure gives nothing, whatever it says');
});

t.test('a sentinel is renewed by the host, and goes nowhere', async (t) => {
  for (const signInInside of [true, false]) {
    const { proxy, port, told, renewed, state } = await world(t, { signInInside });
    const session = await http2Inside(t, proxy, port);
    const contentOf = (sentinel: string): string =>
      `grant_type=refresh_token&refresh_token=${sentinel}`;
    for (const sentinel of [OWN.refresh, 'proxy-managed']) {
      const got = await ask(session, HTTP2_POST, contentOf(sentinel));
      const more = { token_type: 'Bearer', expires_in: 3_600 };
      t.strictSame(JSON.parse(got.content), { ...SENTINELS, ...more });
    }
    state.failing = true;
    const failed = await ask(session, HTTP2_POST, contentOf(OWN.refresh));
    t.match(failed, { status: 502, content: /not now/ });
    t.strictSame([renewed, told], [['crm-id', 'crm-id'], []]);
  }
});

t.test(
  'two grants of one endpoint: a login is watched, and each sentinel has its own',
  async (t) => {
    const { proxy, port, told, kept, renewed } = await world(t, { beside: true });
    const session = await http2Inside(t, proxy, port);
    const got = await ask(session, HTTP2_POST, 'code=c');
    t.strictSame(JSON.parse(got.content), { ...SENTINELS, token_type: 'bearer' });
    t.match(kept, [{ id: 'crm-id' }]);
    t.notOk('authorization' in (told[0]?.fields ?? {}), 'neither goes along');
    const beside = tokenSentinels({ templates, placeholderKey: BESIDE }, 1);
    for (const sentinel of [OWN.refresh, beside.refresh, 'proxy-managed']) {
      const got = await ask(session, HTTP2_POST, `refresh_token=${sentinel}`);
      const { access, refresh } = sentinel === OWN.refresh ? OWN : beside;
      t.match(JSON.parse(got.content), { access_token: access, refresh_token: refresh });
    }
    t.strictSame(renewed, ['crm-id', 'beside-id', 'beside-id']);
    t.match(await outcomeAt(proxy, 2), { injected: 'beside-id' });
  },
);

t.test('a sentinel of another sandbox is refused, however it is spelled', async (t) => {
  const { proxy, port, told, renewed } = await world(t);
  const session = await http2Inside(t, proxy, port);
  const { refresh: foreign } = FOREIGN;
  const json = { 'content-type': 'application/json' };
  const spelled = JSON.stringify({ refresh_token: foreign }).replace('managed', '\\u006danaged');
  for (const [more, content] of [
    [{}, `grant_type=refresh_token&refresh_token=${foreign}`],
    [{}, `refresh_token=${foreign.replaceAll('-', '%2D')}`],
    [{}, `token=${FOREIGN.access}`],
    [json, spelled],
    [{ authorization: `Bearer ${FOREIGN.access}` }, 'code=c'],
    [{ ':path': `/token?refresh_token=${foreign}` }, ''],
  ] as const) {
    const got = await ask(session, { ...HTTP2_POST, ...more }, content);
    t.match(got, { status: 403, content: /SALLYPORT_CREDENTIAL_MISUSED/ }, content);
    t.notMatch(got.content, /proxy-managed-o/);
  }
  t.match(await outcomeAt(proxy, 0), { code: 'SALLYPORT_CREDENTIAL_MISUSED', status: 403 });
  t.strictSame([renewed, told], [[], []]);
  const own = await ask(session, { ...HTTP2_POST, ':path': '/api' }, '');
  t.equal(own.status, 200);
});

t.test(
  'a login where none was declared is the sandbox’s own, and has nothing of ours',
  async (t) => {
    const { proxy, port, told, kept } = await world(t, { signInInside: false });
    const session = await http2Inside(t, proxy, port);
    t.equal((await ask(session, HTTP2_POST, 'code=c')).content, TOKENS);
    t.strictSame(kept, []);
    t.notOk('authorization' in (told[0]?.fields ?? {}), 'though its host is bound');
    await ask(session, { ...HTTP2_POST, ':path': '/api' }, '');
    t.match(told.at(-1), { fields: { authorization: 'Bearer kept' } });
  },
);

t.test('the endpoint of another sandbox is a destination like any other', async (t) => {
  const { proxy, port, kept } = await world(t, { scope: 2 });
  const secure = await tlsInside(t, proxy, port, 'http/1.1'); // Not intercepted: the origin's own.
  const client = new Wire(secure);
  client.send(`POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\ncode=c`);
  t.match(await client.response(), { content: TOKENS });
  t.strictSame(kept, []);
  client.socket.destroy();
});
