// One question to a token endpoint that is slow, chatty, false or somewhere else; and what it goes
// through, src/credentials/request.ts.

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { createSecureContext } from 'node:tls';
import t, { type Test } from 'tap';
import { OAUTH_ANSWER_BYTES_MAX } from '../../src/base/limits.ts';
import { type AskOptions, askForToken } from '../../src/credentials/token-request.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import { certificate, json, tokenEndpoint } from '../helpers/token-endpoint.ts';

const context = createSecureContext({ ca: certificate.authority });
const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'LEAKED=&' });

const ask = (url: string, options: Partial<AskOptions> = {}) =>
  askForToken(
    { url, authorization: 'Basic TEVBS0VE', form, format: 'form' },
    { context, signal: new AbortController().signal, ...options },
  );

/** @returns the message of the failure, which must be ours and tell nothing that is secret. */
async function failure(t: Test, asking: Promise<unknown>): Promise<string> {
  const error = await asking.catch((error: Error) => error);
  t.match(error, { code: 'SALLYPORT_CREDENTIAL_UNAVAILABLE' });
  t.notMatch(String(error), /LEAKED|TEVBS0VE/);
  return error instanceof Error ? error.message : 'none';
}

t.test('the form goes out once, and the object comes back', async (t) => {
  const endpoint = await tokenEndpoint(t);
  endpoint.instead = (response) => json(response, 400, { error: 'invalid_scope' });
  t.strictSame(await ask(endpoint.url), { status: 400, body: { error: 'invalid_scope' } });
  t.match(endpoint.asked, [
    {
      method: 'POST',
      path: '/token',
      headers: {
        host: `localhost:${endpoint.port}`,
        authorization: 'Basic TEVBS0VE',
        accept: 'application/json',
        'content-type': 'application/x-www-form-urlencoded',
        'content-length': String(form.toString().length),
      },
      form: { refresh_token: 'LEAKED=&' },
    },
  ]);
  t.equal(endpoint.asked.length, 1);
});

t.test('a redirection is not followed', async (t) => {
  const [endpoint, other] = [await tokenEndpoint(t), await tokenEndpoint(t)];
  endpoint.instead = (response) => response.writeHead(307, { location: other.url }).end('{}');
  t.match(await ask(endpoint.url), { status: 307 });
  t.strictSame(other.asked, []);
});

t.test('answers that are none', async (t) => {
  const endpoint = await tokenEndpoint(t);
  for (const content of [
    '',
    'LEAKED',
    '"LEAKED"',
    '["LEAKED"]',
    'null',
    '{"access_token":"LEAKED"',
  ]) {
    endpoint.instead = (response) => response.end(content);
    t.equal(
      await failure(t, ask(endpoint.url)),
      'the token endpoint answered 200 without a JSON object',
      content,
    );
  }
  endpoint.instead = (response) => response.destroy();
  t.equal(await failure(t, ask(endpoint.url)), 'the token endpoint cannot be asked: ECONNRESET');
  endpoint.instead = (response) => {
    response.writeHead(200, { 'content-length': 100 }).write('{"access_token":"LEAKED"');
    setImmediate(() => response.destroy());
  };
  t.equal(await failure(t, ask(endpoint.url)), 'the token endpoint cannot be asked: ECONNRESET');
});

t.test('an answer has a size: one byte more is too many', async (t) => {
  const endpoint = await tokenEndpoint(t);
  const padded = (bytes: number): string => `{"a":"${'L'.repeat(bytes - 8)}"}`;
  endpoint.instead = (response) => response.end(padded(OAUTH_ANSWER_BYTES_MAX));
  t.match(await ask(endpoint.url), { status: 200 });
  endpoint.instead = (response) => response.end(padded(OAUTH_ANSWER_BYTES_MAX + 1));
  const said = `the token endpoint answered with more than ${OAUTH_ANSWER_BYTES_MAX} bytes`;
  t.equal(await failure(t, ask(endpoint.url)), said);
  let written = 0;
  endpoint.instead = (response) => {
    const pour = (): void => {
      while (!response.destroyed && response.write('L'.repeat(10_000))) written += 10_000;
    };
    response.on('drain', pour);
    pour();
  };
  t.equal(await failure(t, ask(endpoint.url)), said, 'nor is an endless one read on');
  t.ok(written < 50_000_000);
});

t.test('an endpoint has its time, whatever it does meanwhile', async (t) => {
  const endpoint = await tokenEndpoint(t);
  const late = 'the token endpoint took more than 300 ms';
  endpoint.instead = () => {};
  t.equal(await failure(t, ask(endpoint.url, { timeoutMs: 300 })), late);
  endpoint.instead = (response) => {
    const drip = setInterval(() => response.write(' '), 10);
    response.on('close', () => clearInterval(drip));
  };
  t.equal(await failure(t, ask(endpoint.url, { timeoutMs: 300 })), late, 'drop by drop');
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.teardown(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  const url = `https://localhost:${port}/token`;
  t.equal(await failure(t, ask(url, { timeoutMs: 300 })), late, 'no TLS at all');
  const stop = new AbortController();
  endpoint.instead = () => stop.abort();
  const stopped = await failure(t, ask(endpoint.url, { signal: stop.signal }));
  t.match(stopped, /cannot be asked: (ABORT_ERR|20)/);
});

t.test('only a certificate that verifies, for that name', async (t) => {
  const endpoint = await tokenEndpoint(t);
  const strange = createSecureContext({ ca: TestAuthority.create().pem });
  t.equal(
    await failure(t, ask(endpoint.url, { context: strange })),
    'the token endpoint cannot be asked: UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  );
  const authority = TestAuthority.create();
  const ours = createSecureContext({ ca: authority.pem });
  const other = await tokenEndpoint(t, authority.issue({ names: 'DNS:example.com' }));
  t.match(await failure(t, ask(other.url, { context: ours })), /ERR_TLS_CERT_ALTNAME_INVALID/);
  const old = await tokenEndpoint(t, authority.issue({ names: 'DNS:localhost', days: -1 }));
  t.match(await failure(t, ask(old.url, { context: ours })), /CERT_HAS_EXPIRED/);
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  t.teardown(() => delete process.env.NODE_TLS_REJECT_UNAUTHORIZED);
  t.match(
    await failure(t, ask(old.url, { context: ours })),
    /CERT_HAS_EXPIRED/,
    'nor by environment',
  );
  t.strictSame([endpoint.asked, other.asked, old.asked], [[], [], []], 'nothing was told to them');
});
