// What passes in plain HTTP, byte by byte, between a raw client and an origin.
import tap from 'tap';
import { answering, around, withHttp, withTcp } from '../helpers/relay.ts';
import { get, outcomeAt, tcpOrigin } from '../helpers/wire.ts';

tap.test('small exchanges share one connection on both sides', async (t) => {
  const { client, origin, proxy } = await withHttp(t, (request, response) => {
    request.resume().on('end', () => response.end(`${request.method} ${request.url}`));
  });
  for (let i = 0; i < 5; i++) {
    client.send(get(origin.port, `/${i}?q=1`));
    const { status, content } = await client.response();
    t.equal(status, 200);
    t.equal(content, `GET /${i}?q=1`);
  }
  const post = `POST http://localhost:${origin.port}/p HTTP/1.1\r\nHost: localhost:${origin.port}\r\n`;
  client.send(`${post}Content-Length: 5\r\n\r\nhello`);
  t.equal((await client.response()).content, 'POST /p');
  client.send(`${post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`);
  t.equal((await client.response()).content, 'POST /p');
  t.equal(origin.connections, 1);
  const last = await outcomeAt(proxy, 6);
  t.match(last, { status: 200, code: null, bytes_up: 5, bytes_down: 7, address: '127.0.0.1' });
  t.ok(last.connect_ms >= last.decide_ms && last.duration_ms >= last.connect_ms);
});

tap.test('HEAD keeps the length of what it does not carry', async (t) => {
  const { client, origin } = await withHttp(t, (_, response) => {
    response.setHeader('Content-Length', 1234).end();
  });
  for (let i = 0; i < 2; i++) {
    client.send(get(origin.port).replace('GET', 'HEAD'));
    t.match((await client.response('HEAD')).head, /\r\nContent-Length: 1234\r\n/);
  }
});

tap.test('content arrives whole when it is cut anywhere', async (t) => {
  const { client, origin } = await withHttp(t, (request, response) => {
    let content = '';
    request.on('data', (chunk) => {
      content += chunk;
    });
    request.on('end', () => response.end(`<${content}>`));
  });
  const begin = `POST http://localhost:${origin.port}/ HTTP/1.1\r\nHost: localhost:${origin.port}\r\n`;
  const message =
    `${begin}Transfer-Encoding: chunked\r\n\r\n` +
    '5;a="b"\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: dropped\r\n\r\n';
  for (let at = message.indexOf('chunked'); at < message.length; at++) {
    client.send(message.slice(0, at));
    await new Promise(setImmediate); // The proxy is in this process: let it read what it has.
    client.send(message.slice(at));
    t.equal((await client.response()).content, '<hello world>');
  }
});

tap.test('an origin that ends its content by closing', async (t) => {
  const { client, origin } = await withTcp(t, (socket) => {
    socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\nX: y\r\n\r\nuntil the end'));
  });
  client.send(get(origin.port));
  const { content, head } = await client.response();
  t.match(head, /Transfer-Encoding: chunked/);
  t.equal(content, 'd\r\nuntil the end\r\n0\r\n\r\n');
  client.send(get(origin.port));
  t.equal((await client.response()).status, 200, 'the client connection lives on');
});

tap.test('a client of HTTP/1.0 gets no chunks, and the end of the connection', async (t) => {
  const { client, origin } = await withHttp(t, (_, response) => {
    response.write('one ');
    response.end('two');
  });
  client.send(`GET http://localhost:${origin.port}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`);
  const all = await client.toEnd();
  t.match(all, /^HTTP\/1\.1 200 OK\r\n/);
  t.notMatch(all, /transfer-encoding/i);
  t.match(all, /\r\nConnection: close\r\n/);
  t.ok(all.endsWith('\r\n\r\none two'));
});

tap.test('interim responses pass', async (t) => {
  const { client, origin } = await withHttp(t, (_, response) => {
    response.writeEarlyHints({ link: '</a.css>; rel=preload' });
    response.end('done');
  });
  client.send(get(origin.port));
  const hints = await client.until('\r\n\r\n');
  t.match(hints, /^HTTP\/1\.1 103 Early Hints\r\n/);
  t.match(hints, /link: <\/a\.css>; rel=preload\r\n/i);
  t.equal((await client.response()).content, 'done');
});

tap.test('Expect: 100-continue is answered when somebody will take the content', async (t) => {
  const { client, origin } = await withHttp(t, (request, response) => {
    request.resume().on('end', () => response.end('thanks'));
  });
  const head = (port: number): string =>
    `POST http://localhost:${port}/ HTTP/1.1\r\nHost: localhost:${port}\r\nExpect: 100-continue\r\n` +
    'Content-Length: 5\r\n\r\n';
  client.send(head(origin.port));
  t.equal(await client.until('\r\n\r\n'), 'HTTP/1.1 100 Continue\r\n\r\n');
  client.send('hello');
  t.equal((await client.response()).content, 'thanks');
  client.send(head(1));
  const refused = await client.toEnd();
  t.match(refused, /^HTTP\/1\.1 403 /, 'no 100 before a refusal');
  t.match(refused, /\r\nConnection: close\r\n/);
});

tap.test('no 100 for a destination that does not stand', async (t) => {
  const gone = await tcpOrigin(() => {});
  gone.close();
  const { client } = await around(t, gone);
  client.send(
    `POST http://localhost:${gone.port}/ HTTP/1.1\r\nHost: localhost:${gone.port}\r\n` +
      'Expect: 100-continue\r\nContent-Length: 5\r\n\r\n',
  );
  const answer = await client.toEnd();
  t.match(answer, /^HTTP\/1\.1 502 /);
  t.match(answer, /SALLYPORT_UPSTREAM_UNREACHABLE/);
  t.notMatch(answer, /Blocked by/);
});

tap.test('trailers of a response pass', async (t) => {
  const { client, origin } = await withHttp(t, (_, response) => {
    response.writeHead(200, { Trailer: 'X-Sum' });
    response.write('abc');
    response.addTrailers({ 'X-Sum': '42' });
    response.end();
  });
  client.send(get(origin.port, '/', 'TE: trailers\r\nConnection: TE\r\n'));
  t.match(await client.until('\r\n\r\n'), /\r\nTrailer: X-Sum\r\n/);
  t.equal(await client.until('42\r\n\r\n'), '3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n');
});

tap.test('server-sent events come one by one', async (t) => {
  const next = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const { client, origin } = await withHttp(t, async (_, response) => {
    response.setHeader('Content-Type', 'text/event-stream');
    response.flushHeaders();
    await next[0]?.promise;
    response.write('data: 1\n\n');
    await next[1]?.promise;
    response.end('data: 2\n\n');
  });
  client.send(get(origin.port));
  t.match(await client.until('\r\n\r\n'), /text\/event-stream/, 'the head alone');
  next[0]?.resolve();
  t.equal(await client.until('\n\n\r\n'), '9\r\ndata: 1\n\n\r\n');
  next[1]?.resolve();
  t.equal(await client.until('0\r\n\r\n'), '9\r\ndata: 2\n\n\r\n0\r\n\r\n');
});

tap.test('requests sent ahead are answered in order', async (t) => {
  const { client, origin } = await withHttp(t, (request, response) => {
    request.resume();
    // The first is the slowest.
    let turns = request.url === '/0' ? 20 : 0;
    const answer = (): void =>
      void (turns-- > 0 ? setImmediate(answer) : response.end(request.url));
    answer();
  });
  let all = '';
  for (let i = 0; i < 20; i++) {
    all +=
      i % 3 === 0
        ? `POST http://localhost:${origin.port}/${i} HTTP/1.1\r\nHost: localhost:${origin.port}\r\nContent-Length: 3\r\n\r\nabc`
        : get(origin.port, `/${i}`);
  }
  client.send(all);
  client.socket.end(); // Says all it has to say; the answers are still due.
  for (let i = 0; i < 20; i++) t.equal((await client.response()).content, `/${i}`);
  t.equal(await client.toEnd(), '');
});

tap.test('an answer before the content is in closes the connection', async (t) => {
  const { client, origin, proxy } = await withTcp(t, (socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno'));
  });
  client.send(
    `POST http://localhost:${origin.port}/ HTTP/1.1\r\nHost: localhost:${origin.port}\r\n` +
      'Content-Length: 1000\r\n\r\nbegin',
  );
  const answer = await client.toEnd();
  t.match(answer, /^HTTP\/1\.1 413 Too Much\r\n/);
  t.match(answer, /\r\nConnection: close\r\n/);
  t.ok(answer.endsWith('no'));
  client.send(get(origin.port, '/smuggled'));
  await outcomeAt(proxy, 0);
  t.equal(proxy.outcomes.length, 1);
  t.notMatch(origin.received, /smuggled/);
});

tap.test('hop-by-hop fields end here, both ways', async (t) => {
  const { client, origin } = await withTcp(
    t,
    answering(
      'HTTP/1.1 200 OK\r\nConnection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: timeout=9\r\n' +
        'Proxy-Authenticate: Basic\r\nProxy-Connection: keep-alive\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n' +
        'X-End: yes\r\nContent-Length: 0\r\n\r\n',
    ),
  );
  client.send(
    get(
      origin.port,
      '/',
      'Connection: X-Hop, keep-alive\r\nX-Hop: secret\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n' +
        'Proxy-Authorization: Basic Ym94OmEtdG9rZW4tb2YtdGhlLXRlc3Rz\r\nProxy-Secret: 1\r\nTE: gzip\r\nX-End: yes\r\n',
    ),
  );
  const { head } = await client.response();
  t.notMatch(head, /x-private|keep-alive|proxy-/i);
  t.match(head, /Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-End: yes\r\n/);
  t.notMatch(origin.received, /x-hop|proxy-|\r\nte:|via|forwarded/i);
  t.match(
    origin.received,
    /^GET \/ HTTP\/1\.1\r\nhost: localhost:\d+\r\nconnection: keep-alive\r\nX-End: yes\r\n\r\n$/,
  );
});

tap.test('Via and X-Forwarded-For when they are wanted', async (t) => {
  const origin = await tcpOrigin(
    answering('HTTP/1.1 200 OK\r\nVia: 1.1 far\r\nContent-Length: 0\r\n\r\n'),
  );
  const { client } = await around(t, origin, { via: true, forwardedFor: true });
  client.send(get(origin.port, '/', 'Via: 1.0 near\r\nX-Forwarded-For: 10.0.0.1\r\n'));
  const { head } = await client.response();
  t.match(origin.received, /via: 1\.0 near, 1\.1 sallyport\r\n/i);
  t.match(origin.received, /x-forwarded-for: 10\.0\.0\.1, 127\.0\.0\.1\r\n/i);
  t.match(head, /Via: 1\.1 far\r\nVia: 1\.1 sallyport\r\n/);
});

tap.test('OPTIONS for a whole server is refused in clear words', async (t) => {
  const { client, origin } = await withHttp(t, (_, response) => void response.end());
  client.send(
    `OPTIONS http://localhost:${origin.port} HTTP/1.1\r\nHost: localhost:${origin.port}\r\n\r\n`,
  );
  const { status, content } = await client.response();
  t.equal(status, 400);
  t.match(content, /SALLYPORT_TARGET_INVALID/);
  client.send(get(origin.port));
  t.equal((await client.response()).status, 200);
});

tap.test('a head of 40 KB passes', async (t) => {
  const big = 'x'.repeat(40_000);
  const { client, origin } = await withTcp(
    t,
    answering(`HTTP/1.1 200 OK\r\nX-Big: ${big}\r\nContent-Length: 0\r\n\r\n`),
  );
  client.send(get(origin.port, '/', `X-Big: ${big}\r\n`));
  t.match((await client.response()).head, new RegExp(`X-Big: ${big}\r\n`));
  t.ok(origin.received.includes(`X-Big: ${big}\r\n`));
});
