// A proxy that asks before it refuses: who is asked for, what is held, and what a yes opens.
import { createServer } from 'node:https';
import tap, { type Test } from 'tap';
import type { ApprovalRequest, Approve } from '../../src/proxy/approval.ts';
import type { Approval, Outcome } from '../../src/proxy/exchange.ts';
import { certificate, interceptor, listening, tlsInside } from '../helpers/intercept.ts';
import { startProxy, type TestProxy } from '../helpers/proxy.ts';
import {
  connectTo,
  get,
  httpOrigin,
  outcomeAt,
  say,
  tcpOrigin,
  Wire,
  within,
} from '../helpers/wire.ts';

/** Answers each question with the next of these, the last again and again. */
function answers(...said: Approval[]): { approve: Approve; asked: ApprovalRequest[] } {
  const asked: ApprovalRequest[] = [];
  const approve: Approve = async (request) => {
    asked.push(request);
    return said.length > 1 ? (said.shift() ?? 'off') : (said[0] ?? 'off');
  };
  return { approve, asked };
}

type Options = NonNullable<Parameters<typeof startProxy>[0]>;

async function proxyWith(t: Test, options: Options): Promise<TestProxy> {
  const proxy = await startProxy({
    ...options,
    settings: { approvals: true, ...options.settings },
  });
  t.teardown(() => proxy.close());
  return proxy;
}

async function said(t: Test, proxy: TestProxy, bytes: string) {
  const client = await say(proxy.port, bytes);
  t.teardown(() => client.socket.destroy());
  return client.response(bytes.slice(0, bytes.indexOf(' ')));
}

tap.test('nobody said yes: 90 bytes for example.com:443', async (t) => {
  const { approve, asked } = answers('refused');
  const proxy = await proxyWith(t, { approve });
  const { status, head, content } = await said(t, proxy, connectTo('example.com:443'));
  t.equal(status, 403);
  t.match(head, /\r\nX-Sallyport-Code: SALLYPORT_APPROVAL_REQUIRED\r\n/);
  t.match(head, /\r\nProxy-Status: sallyport; error=http_request_denied\r\n/);
  t.equal(
    content,
    'Approval required for example.com:443.\n\nReview and respond with:\n  sbx policy approval ls\n',
  );
  t.equal(content.length, 90);
  t.strictSame(asked, [{ sandbox: 'box', host: 'example.com', port: 443, wait: true }]);
  t.match(await outcomeAt(proxy, 0), {
    verdict: 'deny',
    deny_kind: 'implicit',
    rule: null,
    code: 'SALLYPORT_APPROVAL_REQUIRED',
    reason: 'No matching allow rule (default deny)',
  });
  const json = await said(
    t,
    proxy,
    'GET http://x.test/ HTTP/1.1\r\nHost: x.test\r\nAccept: application/json\r\n\r\n',
  );
  t.match(JSON.parse(json.content), {
    title: 'Approval required',
    code: 'SALLYPORT_APPROVAL_REQUIRED',
    host: 'x.test',
    deny_kind: 'implicit',
  });
});

tap.test('what is denied, or covered by HTTP rules, is put before nobody', async (t) => {
  const { approve, asked } = answers('once');
  const rules: Options['rules'] = [
    ['allow', '**'],
    ['deny', 'bad.test'],
  ];
  const proxy = await proxyWith(t, { approve, rules });
  const { content } = await said(t, proxy, connectTo('bad.test:443'));
  t.match(content, /^Blocked by network policy: domain bad\.test:443/);
  const off = await proxyWith(t, { approve, settings: { approvals: false } });
  t.match((await said(t, off, connectTo('new.test:443'))).content, /^Blocked by network policy/);
  t.strictSame(asked, []);
});

tap.test('where nobody can be asked, the refusal is the usual one', async (t) => {
  const proxy = await proxyWith(t, answers('off'));
  const { content } = await said(t, proxy, connectTo('new.test:443'));
  t.match(content, /^Blocked by network policy: domain new\.test:443\n {2}detail: no matching/);
  t.match(await outcomeAt(proxy, 0), { code: 'SALLYPORT_DENIED' });
});

tap.test('once: one tunnel, then the question again', async (t) => {
  const origin = await tcpOrigin((socket) => socket.end('hello'));
  t.teardown(() => origin.close());
  const { approve, asked } = answers('once', 'refused');
  const proxy = await proxyWith(t, { approve });
  const place = `localhost:${origin.port}`;
  const client = await say(proxy.port, connectTo(place));
  t.match(await client.toEnd(), /^HTTP\/1\.1 200 .*\r\n\r\nhello$/s);
  client.socket.destroy();
  t.match(await outcomeAt(proxy, 0), { verdict: 'allow', rule: 'approval-once', source: 'local' });
  t.equal((await said(t, proxy, connectTo(place))).status, 403);
  t.equal(asked.length, 2);
});

tap.test('once: a request with content goes whole', async (t) => {
  const origin = await httpOrigin((request, response) => request.pipe(response));
  t.teardown(() => origin.close());
  const proxy = await proxyWith(t, answers('once'));
  const head = `POST http://localhost:${origin.port}/ HTTP/1.1\r\nHost: localhost:${origin.port}\r\n`;
  const { status, content } = await said(t, proxy, `${head}Content-Length: 5\r\n\r\n12345`);
  t.equal(status, 200);
  t.match(content, /12345/);
});

tap.test('a name that leads to what is special is refused, whatever a person said', async (t) => {
  const proxy = await proxyWith(t, {
    ...answers('once'),
    names: { 'inner.test': ['10.0.0.1'] },
  });
  const { head } = await said(t, proxy, connectTo('inner.test:443'));
  t.match(head, /SALLYPORT_ADDRESS_FORBIDDEN/);
});

tap.test('a rule that has gone again is no rule', async (t) => {
  const proxy = await proxyWith(t, answers('rule'));
  const { head } = await said(t, proxy, connectTo('new.test:443'));
  t.match(head, /SALLYPORT_APPROVAL_REQUIRED/);
});

for (const [how, leave] of [
  ['is killed', (client: Wire) => client.socket.resetAndDestroy()],
  ['closes', (client: Wire) => client.socket.destroy()],
  ['sends no more', (client: Wire) => client.socket.end()],
] as const) {
  tap.test(`a client that ${how} is waited for no longer`, async (t) => {
    const held = Promise.withResolvers<AbortSignal>();
    const freed = Promise.withResolvers<Approval>();
    const approve: Approve = (_, signal) => {
      signal.addEventListener('abort', () => freed.resolve('refused'));
      held.resolve(signal);
      return freed.promise;
    };
    const proxy = await proxyWith(t, { approve });
    const client = await say(proxy.port, get(80));
    t.equal((await within('the question', held.promise)).aborted, false);
    leave(client);
    await within('its end', freed.promise);
    const outcome: Outcome = await outcomeAt(proxy, 0);
    t.match(outcome, { verdict: 'deny', deny_kind: 'implicit' });
    client.socket.destroy();
  });
}

const { key, cert } = certificate;

tap.test('once: an intercepted tunnel with all that passes in it', async (t) => {
  const port = await listening(
    t,
    createServer({ key, cert }, (_, response) => response.end('in')),
  );
  const { approve, asked } = answers('once', 'refused');
  const settings = { approvals: true };
  const proxy = await interceptor(t, [], { rules: [], approve, settings });
  const client = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  for (let i = 0; i < 2; i++) {
    client.send(`GET /${i} HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
    t.match(await client.response(), { status: 200, content: 'in' });
  }
  client.socket.destroy();
  t.equal(asked.length, 1, 'the tunnel was asked for, not each request');
  t.equal((await said(t, proxy, connectTo(`localhost:${port}`))).status, 403);
});

tap.test('a refusal inside TLS: asked once with a wait, then without', async (t) => {
  const { approve, asked } = answers('refused');
  const settings = { approvals: true, deny: 'inside' } as const;
  const proxy = await interceptor(t, [], { rules: [], approve, settings });
  const client = new Wire(await tlsInside(t, proxy, 443, 'http/1.1'));
  client.send('GET / HTTP/1.1\r\nHost: localhost:443\r\n\r\n');
  t.match(await client.response(), {
    status: 403,
    content: /^Approval required for localhost:443\.\n/,
  });
  t.match(asked, [{ wait: true }, { wait: false }]);
  client.socket.destroy();
});
