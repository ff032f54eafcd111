// The exact words of refusals and of the page in src/proxy/welcome.ts: agents and hooks look for them.

import tap, { type Test } from 'tap';
import { SallyportError } from '../../src/base/errors.ts';
import type { Address } from '../../src/policy/address.ts';
import type { Answer as Answering } from '../../src/proxy/exchange.ts';
import { refuse } from '../../src/proxy/respond.ts';
import { startProxy, type TestProxy } from '../helpers/proxy.ts';
import { connectTo, outcomeAt, say, tcpOrigin } from '../helpers/wire.ts';

type Options = Parameters<typeof startProxy>[0];

async function ask(t: Test, bytes: string, options: Options): Promise<Answer> {
  const proxy = await startProxy(options);
  t.teardown(() => proxy.close());
  const client = await say(proxy.port, bytes);
  t.teardown(() => client.socket.destroy());
  const method = bytes.slice(0, bytes.indexOf(' '));
  const { status, head, content } = await client.response(method);
  return { status, head, content: Buffer.from(content, 'latin1').toString(), proxy };
}

type Answer = { status: number; head: string; content: string; proxy: TestProxy };

const RULE = '7b0a2c3e-1111-4222-8333-944455556666';

tap.test('no rule: 117 bytes for reddit.com:443', async (t) => {
  const { status, head, content, proxy } = await ask(t, connectTo('reddit.com:443'), {});
  t.equal(status, 403);
  t.match(head, /^HTTP\/1\.1 403 Forbidden\r\nContent-Type: text\/plain; charset=utf-8\r\n/);
  t.match(head, /\r\nX-Sallyport-Code: SALLYPORT_DENIED\r\n/);
  t.match(head, /\r\nProxy-Status: sallyport; error=http_request_denied\r\n/);
  t.notMatch(head, /X-Sallyport-Rule/);
  t.match(head, /\r\nConnection: close\r\n/);
  t.equal(
    content,
    'Blocked by network policy: domain reddit.com:443\n' +
      '  detail: no matching allow rule — blocked by default deny policy\n',
  );
  t.equal(Buffer.byteLength(content), 117);
  t.match(await outcomeAt(proxy, 0), {
    verdict: 'deny',
    deny_kind: 'implicit',
    rule: null,
    code: 'SALLYPORT_DENIED',
    status: 403,
    bytes_down: 117,
    address: null,
  });
});

tap.test('a local deny rule: 171 bytes for pypi.org:443', async (t) => {
  const { status, head, content, proxy } = await ask(t, connectTo('PyPI.org.:443'), {
    rules: [
      ['allow', '**'],
      ['deny', 'pypi.org', { id: RULE }],
    ],
  });
  t.equal(status, 403);
  t.equal(
    content,
    'Blocked by network policy: domain pypi.org:443\n' +
      `  rule:   "local:${RULE}" (domain, deny)\n` +
      '  origin: local policy\n' +
      '  detail: Denied by local rule\n',
  );
  t.equal(Buffer.byteLength(content), 171);
  t.match(head, new RegExp(`\r\nX-Sallyport-Rule: ${RULE}\r\n`));
  t.match(await outcomeAt(proxy, 0), { deny_kind: 'explicit', rule: RULE, source: 'local' });
});

const JSON_FIELDS = 'Host: pypi.org\r\nAccept: application/json\r\n\r\n';

tap.test('the same facts as a problem document', async (t) => {
  const { status, head, content } = await ask(
    t,
    `GET http://pypi.org/x HTTP/1.1\r\n${JSON_FIELDS}`,
    {
      rules: [['deny', 'pypi.org', { id: RULE }]],
    },
  );
  t.equal(status, 403);
  t.match(head, /\r\nContent-Type: application\/problem\+json\r\n/);
  t.notMatch(head, /\r\nConnection: close/, 'the connection can be used again');
  t.match(JSON.parse(content), {
    type: 'urn:sallyport:error:SALLYPORT_DENIED',
    title: 'Blocked by network policy',
    status: 403,
    code: 'SALLYPORT_DENIED',
    host: 'pypi.org',
    port: 80,
    rule: RULE,
    origin: 'local policy',
    deny_kind: 'explicit',
    hint: /policy check/,
  });
});

tap.test('text for those who prefer it', async (t) => {
  for (const accept of ['*/*', 'text/html, application/json;q=0.9', 'text/plain']) {
    const { head } = await ask(
      t,
      `GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nAccept: ${accept}\r\n\r\n`,
      {},
    );
    t.match(head, /Content-Type: text\/plain/, accept);
  }
});

tap.test('an address behind an allowed name', async (t) => {
  const { status, head, content, proxy } = await ask(t, connectTo('inner.test:80'), {
    rules: [['allow', 'inner.test']],
    names: { 'inner.test': ['169.254.169.254'] },
  });
  t.equal(status, 403);
  t.match(
    content,
    /^Blocked by network policy: domain inner\.test:80\n {2}detail: resolved-address: /,
  );
  t.match(head, /X-Sallyport-Code: SALLYPORT_ADDRESS_FORBIDDEN/);
  t.match(head, /error=destination_ip_prohibited/);
  t.notMatch(head, /X-Sallyport-Rule/);
  t.match(await outcomeAt(proxy, 0), { verdict: 'deny', rule: null, address: null });
});

tap.test('who is asking is not known', async (t) => {
  const { status, head, content } = await ask(t, connectTo('a.test:443'), { defaultSandbox: null });
  t.equal(status, 407);
  t.match(head, /^HTTP\/1\.1 407 Proxy Authentication Required\r\n/);
  t.match(head, /\r\nProxy-Authenticate: Basic realm="sallyport", charset="UTF-8"\r\n/);
  t.match(content, /^Sallyport: /);
  t.notMatch(content, /Blocked by/);
});

tap.test('what fails behind the proxy never looks like a refusal', async (t) => {
  const gone = await tcpOrigin(() => {});
  gone.close();
  const rules: [decision: 'allow', resources: string][] = [['allow', `**,localhost:${gone.port}`]];
  for (const accept of ['*/*', 'application/json']) {
    const fields = `Accept: ${accept}\r\n\r\n`;
    const dns = await ask(
      t,
      `GET http://nowhere.test/ HTTP/1.1\r\nHost: nowhere.test\r\n${fields}`,
      {
        rules,
        names: {},
      },
    );
    t.equal(dns.status, 502);
    t.match(dns.content, /SALLYPORT_DNS_FAILED/);
    t.notMatch(dns.content, /Blocked by/);
    const authority = `localhost:${gone.port}`;
    const dead = await ask(
      t,
      `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n${fields}`,
      { rules },
    );
    t.equal(dead.status, 502);
    t.match(dead.content, /SALLYPORT_UPSTREAM_UNREACHABLE/);
    t.match(dead.content, /ECONNREFUSED/);
    t.notMatch(dead.content, /Blocked by/);
    t.match(dead.head, /Proxy-Status: sallyport; error=connection_refused/);
  }
});

tap.test('HEAD gets the head of a refusal alone', async (t) => {
  const proxy = await startProxy();
  const client = await say(proxy.port, 'HEAD http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n');
  t.match((await client.response('HEAD')).head, /\r\nContent-Length: 1\d\d\r\n/);
  client.send('GET / HTTP/1.1\r\nHost: me\r\n\r\n');
  t.match((await client.response()).head, /^HTTP\/1\.1 200 OK/, 'nothing stands between');
  client.socket.destroy();
  await proxy.close();
});

tap.test('the proxy opened as a site', async (t) => {
  const home = await ask(t, 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', { defaultSandbox: null });
  t.equal(home.status, 200);
  t.match(home.content, /egress proxy/);
  t.match(await outcomeAt(home.proxy, 0), { status: 200, code: null, verdict: 'none', host: '' });
  const other = await ask(t, 'GET /admin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', {
    defaultSandbox: null,
  });
  t.equal(other.status, 400);
  t.match(
    other.head,
    /^HTTP\/1\.1 400 Bad Request\r\n[\s\S]*X-Sallyport-Code: SALLYPORT_NOT_AN_ORIGIN\r\n/,
  );
  t.match(other.content, /export http_proxy/);
  t.match(await outcomeAt(other.proxy, 0), { status: 400, code: 'SALLYPORT_NOT_AN_ORIGIN' });
});

tap.test('an organisation tells nothing of its rules but whom to ask', async (t) => {
  const facts = {
    host: '10.0.0.1' as Address,
    port: 443,
    rule: 'rule_secret-name',
    source: 'remote',
    deny_kind: 'explicit',
    reason: 'Denied by organization policy',
    verdict: 'deny',
  } as const;
  const error = new SallyportError(
    'SALLYPORT_ADDRESS_FORBIDDEN',
    'rule rule_secret-name denies it',
  );
  for (const accept of ['application/json', null]) {
    let said = '';
    const answer = {
      start: (_: number, __: string, fields: string) => {
        said += fields;
      },
      data: (chunk: Buffer) => {
        said += chunk;
        return true;
      },
      end: () => true,
    };
    refuse(answer as unknown as Answering, error, facts, accept, 'Ask #help-network');
    t.notMatch(said, 'secret-name');
    t.match(said, 'Ask #help-network');
    t.match(said, 'corporate policy');
    if (accept === null) {
      t.match(said, 'Blocked by org policy: domain 10.0.0.1:443\n  origin: corporate policy\n');
    }
  }
  let local = '';
  const answer = {
    start: () => {},
    data: (chunk: Buffer) => {
      local += chunk;
    },
    end: () => true,
  };
  const own = { ...facts, source: 'local' } as const;
  const denied = new SallyportError('SALLYPORT_DENIED', 'no');
  refuse(answer as unknown as Answering, denied, own, null, 'Ask #help-network');
  t.notMatch(local, 'Ask', 'a local rule is no business of theirs');
});
