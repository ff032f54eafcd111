// The ClientHellos of real clients, in pieces and broken.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { connect } from 'node:tls';
import fc from 'fast-check';
import tap, { type Test } from 'tap';
import { SallyportError } from '../../src/base/errors.ts';
import { CLIENT_HELLO_BYTES_MAX } from '../../src/base/limits.ts';
import { readClientHello } from '../../src/tls/client-hello.ts';

/** The first bytes that a client sends to a server that only listens. */
async function sentBy(t: Test, run: (port: number) => () => void): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = run((server.address() as AddressInfo).port);
  const [socket] = await once(server, 'connection');
  let bytes = Buffer.alloc(0);
  while (readClientHello(bytes) === null) {
    const [chunk] = await once(socket, 'data');
    bytes = Buffer.concat([bytes, chunk]);
  }
  t.teardown(() => {
    stop();
    socket.destroy();
    server.close();
  });
  return bytes;
}

function node(servername: string, ALPNProtocols: string[] = []): (port: number) => () => void {
  return (port) => {
    const socket = connect({ port, host: '127.0.0.1', servername, ALPNProtocols });
    socket.on('error', () => {});
    return () => socket.destroy();
  };
}

function program(name: string, ...words: string[]): (port: number) => () => void {
  return (port) => {
    const child = execFile(
      name,
      words.map((word) => word.replace('PORT', String(port))),
    );
    child.on('error', () => {});
    return () => void child.kill();
  };
}

tap.test('real clients', async (t) => {
  const bytes = await sentBy(t, node('Api.Example.com', ['h2', 'http/1.1']));
  t.same(readClientHello(bytes), {
    serverName: 'api.example.com',
    alpn: ['h2', 'http/1.1'],
    encryptedClientHello: false,
    mayBeRetried: true,
    earlyData: false,
    recordBytes: bytes.length,
  });
  t.match(readClientHello(await sentBy(t, node(''))), { serverName: null, alpn: [] });
  const s_client = program(
    'openssl',
    's_client',
    '-connect',
    '127.0.0.1:PORT',
    '-servername',
    'a.test',
  );
  t.match(readClientHello(await sentBy(t, s_client)), { serverName: 'a.test', alpn: [] });
  const curl = program('curl', '-sk', '--resolve', 'b.test:PORT:127.0.0.1', 'https://b.test:PORT/');
  t.match(readClientHello(await sentBy(t, curl)), {
    serverName: 'b.test',
    alpn: ['h2', 'http/1.1'],
  });
});

tap.test('in pieces, and cut into records', async (t) => {
  const whole = await sentBy(t, node('a.test'));
  const wanted = readClientHello(whole);
  for (let end = 0; end < whole.length; end++)
    t.equal(readClientHello(whole.subarray(0, end)), null);
  t.same(readClientHello(Buffer.concat([whole, Buffer.from('more')])), wanted);
  const message = whole.subarray(5);
  const records = (count: number): Buffer => {
    const size = Math.ceil(message.length / count);
    const parts = Array.from({ length: count }, (_, i) =>
      message.subarray(i * size, (i + 1) * size),
    );
    return Buffer.concat(
      parts.flatMap((part) => [Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part]),
    );
  };
  t.same(readClientHello(records(3)), { ...wanted, recordBytes: message.length + 15 });
  t.throws(() => readClientHello(records(20)), { code: 'SALLYPORT_TLS_HELLO_INVALID' });
});

/** A ClientHello with these extensions. */
function hello(extensions: readonly [type: number, body: Buffer][], version = 0x0303): Buffer {
  const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
  const list = Buffer.concat(
    extensions.flatMap(([type, body]) => [u16(type), u16(body.length), body]),
  );
  const body = Buffer.concat([
    u16(version),
    Buffer.alloc(32),
    Buffer.of(0),
    u16(2),
    u16(0x1301),
    Buffer.of(1, 0),
    u16(list.length),
    list,
  ]);
  const head = Buffer.concat([Buffer.of(1, 0), u16(body.length)]);
  return Buffer.concat([Buffer.of(22, 3, 1), u16(head.length + body.length), head, body]);
}

function names(...all: readonly (string | Buffer)[]): Buffer {
  const entries = all.map((one) => {
    const name = Buffer.from(one as string, 'latin1');
    return Buffer.concat([Buffer.of(0, name.length >> 8, name.length & 255), name]);
  });
  const list = Buffer.concat(entries);
  return Buffer.concat([Buffer.of(list.length >> 8, list.length & 255), list]);
}

tap.test('what cannot be read in one way only is refused', (t) => {
  const cases: readonly [string, Buffer][] = [
    ['no TLS', Buffer.from('GET / HTTP/1.1')],
    ['one byte that no record begins with', Buffer.of(0x80)],
    ['another version of records', Buffer.of(22, 2, 0)],
    ['an empty record', Buffer.of(22, 3, 1, 0, 0)],
    ['another message', Buffer.of(22, 3, 1, 0, 4, 2, 0, 0, 0)],
    ['another message behind it', Buffer.concat([hello([]), Buffer.of(1)]).fill(48, 4, 5)],
    ['a message that is too long', Buffer.of(22, 3, 1, 0, 4, 1, 1, 0, 0)],
    ['an old version', hello([], 0x0200)],
    [
      'an extension twice',
      hello([
        [0, names('a.test')],
        [0, names('a.test')],
      ]),
    ],
    ['two names', hello([[0, names('a.test', 'b.test')]])],
    ['no name in the extension', hello([[0, Buffer.of(0, 0)]])],
    ['an empty name', hello([[0, names('')]])],
    ['a NUL', hello([[0, names('a.test\0.b.test')]])],
    ['a dot at the end', hello([[0, names('a.test.')]])],
    ['letters beyond ASCII', hello([[0, names('\xe4.test')]])],
    ['an address', hello([[0, names('127.0.0.1')]])],
    ['another kind of name', hello([[0, Buffer.of(0, 4, 1, 0, 1, 97)]])],
    ['bytes behind the list', hello([[0, Buffer.concat([names('a.test'), Buffer.of(0)])]])],
    ['an empty protocol', hello([[16, Buffer.of(0, 1, 0)]])],
  ];
  for (const [what, bytes] of cases) {
    t.throws(() => readClientHello(bytes), { code: 'SALLYPORT_TLS_HELLO_INVALID' }, what);
  }
  t.match(readClientHello(hello([[0xfe0d, Buffer.of(0)]])), { encryptedClientHello: true });
  t.ok(CLIENT_HELLO_BYTES_MAX < 65_536, 'so that the length of a record holds it');
  t.end();
});

tap.test('whatever bytes come, it answers, waits or refuses', async (t) => {
  const whole = await sentBy(t, node('a.test', ['h2']));
  const changed = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 });
  fc.assert(
    fc.property(changed, fc.uint8Array({ maxLength: 64 }), (changes, tail) => {
      const bytes = Buffer.concat([whole, tail]);
      for (const [at, value] of changes) bytes[at] = value;
      try {
        readClientHello(bytes);
        return true;
      } catch (error) {
        return error instanceof SallyportError;
      }
    }),
    { numRuns: 5_000 },
  );
  t.pass();
});
