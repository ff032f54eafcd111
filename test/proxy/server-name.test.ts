// Domain fronting: whom TLS names must be whom CONNECT named, whether the tunnel is relayed blind or
// the proxy speaks inside; behind one address many others may answer.
import { once } from 'node:events';
import { connect, createServer, type TLSSocket } from 'node:tls';
import tap from 'tap';
import { certificate, clientHello, interceptor, listening, tunnel } from '../helpers/intercept.ts';
import { startProxy } from '../helpers/proxy.ts';
import { withTcp } from '../helpers/relay.ts';
import { connectTo, outcomeAt, say, tcpOrigin, wire, within } from '../helpers/wire.ts';

const UNRECOGNIZED_NAME = '\x15\x03\x03\x00\x02\x02\x70';
const DECODE_ERROR = '\x15\x03\x03\x00\x02\x02\x32';
const MISMATCH = 'SALLYPORT_TLS_NAME_MISMATCH';
const INVALID = 'SALLYPORT_TLS_HELLO_INVALID';

/** What a client may begin with in a tunnel that is relayed blind, to a host that is named. */
async function beginnings(): Promise<[what: string, alert: string, code: string, Buffer][]> {
  const other = await clientHello('other.test');
  const cut = Buffer.concat([
    Buffer.from([22, 3, 1, 0, 100]),
    other.subarray(5, 105),
    Buffer.from([22, 3, 1, (other.length - 105) >> 8, (other.length - 105) & 255]),
    other.subarray(105),
  ]);
  const broken = Buffer.from(await clientHello('localhost'));
  broken[43] = 255; // The session id, longer than may be.
  return [
    ['another name', UNRECOGNIZED_NAME, MISMATCH, other],
    ['another name, in two records', UNRECOGNIZED_NAME, MISMATCH, cut],
    ['no name', UNRECOGNIZED_NAME, MISMATCH, await clientHello('')],
    [
      'an outer name',
      UNRECOGNIZED_NAME,
      MISMATCH,
      withEncryptedHello(await clientHello('outer.test')),
    ],
    ['what cannot be read', DECODE_ERROR, INVALID, broken],
    ['no version of TLS', DECODE_ERROR, INVALID, Buffer.from([22, 2, 0, 0, 1, 1])],
    ['nothing, then another name', DECODE_ERROR, INVALID, after(EMPTY, other)],
    ['an alert, then another name', DECODE_ERROR, INVALID, after(WARNING, other)],
    ['an alert of no version', DECODE_ERROR, INVALID, after([21, 0, 0, 0, 2, 1, 90], other)],
    ['another record first', DECODE_ERROR, INVALID, after(CHANGE_CIPHER_SPEC, other)],
    ['the hello of SSL 2.0', DECODE_ERROR, INVALID, Buffer.from('802e01030300150000', 'hex')],
    [
      'two hellos in one record',
      DECODE_ERROR,
      INVALID,
      oneRecord(await clientHello('localhost'), other),
    ],
  ];
}

const EMPTY = [22, 3, 3, 0, 0];
const WARNING = [21, 3, 3, 0, 2, 1, 90]; // user_canceled.
const CHANGE_CIPHER_SPEC = [20, 3, 3, 0, 1, 1];

function after(first: readonly number[], bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(first), bytes]);
}

/** The messages of two records in one. */
function oneRecord(one: Buffer, other: Buffer): Buffer {
  const messages = Buffer.concat([one.subarray(5), other.subarray(5)]);
  const head = [22, 3, 1, messages.length >> 8, messages.length & 255];
  return after(head, messages);
}

/** How the bytes of a client come behind its CONNECT. */
const WAYS: Readonly<Record<string, (connect: Buffer, bytes: Buffer) => Buffer[]>> = {
  'at once': (connect, bytes) => [connect, bytes],
  'with the CONNECT': (connect, bytes) => [Buffer.concat([connect, bytes])],
  'byte by byte': (connect, bytes) => [connect, ...Array.from(bytes, (byte) => Buffer.of(byte))],
};

tap.test('a blind tunnel, too, leads to whom CONNECT named', async (t) => {
  const { origin, proxy } = await withTcp(t, () => {});
  const connect = Buffer.from(connectTo(`localhost:${origin.port}`));
  let index = 0;
  for (const [what, alert, code, bytes] of await beginnings()) {
    for (const [way, piecesOf] of Object.entries(WAYS)) {
      const client = await wire(proxy.port);
      for (const piece of piecesOf(connect, bytes)) client.send(piece);
      await client.until('established\r\n\r\n');
      t.equal(await client.toEnd(), alert, `${what}, ${way}`);
      client.socket.destroy();
      t.match(await outcomeAt(proxy, index++), {
        code,
        status: 200,
        bytes_up: 0,
        method: 'CONNECT',
      });
    }
  }
  t.equal(origin.received, '', 'not a byte of it arrives');
});

/** What a client may send behind a ClientHello that names whom it may reach. */
async function retries(): Promise<[what: string, alert: string, passed: number[], Buffer][]> {
  const other = await clientHello('other.test');
  const bit = [22, 3, 3, 0, 1, 1];
  const inBits = after([...bit, 22, 3, 3], lengthLess(other, 1));
  return [
    ['another name', UNRECOGNIZED_NAME, [], other],
    ['no name', UNRECOGNIZED_NAME, [], await clientHello('')],
    ['in records of any size', UNRECOGNIZED_NAME, bit, inBits],
    ['behind what is passed over', UNRECOGNIZED_NAME, PASSED_OVER, after(PASSED_OVER, other)],
    ['behind an empty one', DECODE_ERROR, [], after(EMPTY, other)],
    ['one too long to be looked at', DECODE_ERROR, LONG, after(LONG, Buffer.from(LONG))],
  ];
}

/** A part of a long ClientHello; or, encrypted, a Finished of TLS 1.2. */
const LONG = [22, 3, 3, 0, 40, 1, 0, 0x7f, 0xff, ...Buffer.alloc(36)];

const PASSED_OVER = [...CHANGE_CIPHER_SPEC, ...WARNING, 23, 3, 3, 0, 0];

/** The record without its first bytes, from its length on. */
function lengthLess(record: Buffer, less: number): Buffer {
  const message = record.subarray(5 + less);
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);
}

tap.test('a second ClientHello names whom the first did (HelloRetryRequest)', async (t) => {
  const first = await clientHello('localhost');
  for (const [what, alert, passed, bytes] of await retries()) {
    for (const [way, piecesOf] of Object.entries(WAYS)) {
      const { origin, proxy, client } = await withTcp(t, () => {});
      client.send(connectTo(`localhost:${origin.port}`));
      await client.until('established\r\n\r\n');
      for (const piece of piecesOf(first, bytes)) client.send(piece);
      t.equal(await client.toEnd(), alert, `${what}, ${way}`);
      const bytes_up = first.length + passed.length;
      t.match(await outcomeAt(proxy, 0), { bytes_up });
      const wanted = after(passed, Buffer.alloc(0)).toString('latin1');
      t.ok((first.toString('latin1') + wanted).startsWith(origin.received), 'none of it arrives');
    }
  }
});

tap.test('a session that is resumed may finish with any byte', async (t) => {
  const finished = after([...CHANGE_CIPHER_SPEC, ...LONG], Buffer.from([23, 3, 3, 0, 1, 7]));
  const bytes = Buffer.concat([await clientHello('localhost'), finished]);
  for (const [way, piecesOf] of Object.entries(WAYS)) {
    const { origin, client } = await withTcp(t, () => {});
    for (const piece of piecesOf(Buffer.from(connectTo(`localhost:${origin.port}`)), bytes)) {
      client.send(piece);
    }
    client.socket.end();
    while (origin.received.length < bytes.length) await new Promise(setImmediate);
    t.equal(origin.received, bytes.toString('latin1'), way);
  }
});

tap.test('early data is passed over as well, but not for ever', async (t) => {
  const first = withExtension(await clientHello('localhost'), 42, Buffer.alloc(0));
  const other = await clientHello('other.test');
  const data = after([23, 3, 3, 0x3f, 0xff], Buffer.alloc(0x3fff, 7));
  for (const [count, isLookedAt] of [
    [3, true],
    [6, false],
  ] as const) {
    const { origin, client } = await withTcp(t, () => {});
    client.send(connectTo(`localhost:${origin.port}`));
    await client.until('established\r\n\r\n');
    for (const piece of [first, ...Array(count).fill(data), other]) client.send(piece);
    if (isLookedAt) t.equal(await client.toEnd(), UNRECOGNIZED_NAME);
    const bytes = first.length + count * data.length + (isLookedAt ? 0 : other.length);
    if (!isLookedAt) while (origin.received.length < bytes) await new Promise(setImmediate);
    t.ok(origin.received.length <= bytes);
  }
});

tap.test('a server may ask for a second ClientHello', async (t) => {
  const server = createServer({ ...certificate, ecdhCurve: 'P-384' }, (socket) => {
    socket.on('error', () => {});
    socket.end(`hello ${(socket as TLSSocket & { servername: string }).servername}`);
  });
  const port = await listening(t, server);
  const proxy = await startProxy({ rules: [['allow', `localhost:${port}`]] });
  t.teardown(() => proxy.close());
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const { socket } = await tunnel(t, proxy, `localhost:${port}`);
    socket.removeAllListeners('data');
    const ca = certificate.authority;
    const secure = connect({
      socket,
      servername: 'localhost',
      ca,
      maxVersion,
      ecdhCurve: 'P-256:P-384',
    });
    const [greeting] = await within('the greeting', once(secure, 'data'));
    t.equal(String(greeting), 'hello localhost', maxVersion);
    secure.destroy();
  }
});

tap.test('behind an address any name may be, and a bypassed host is not looked at', async (t) => {
  const origin = await tcpOrigin((socket) => socket.write('ready'));
  t.teardown(() => origin.close());
  const hello = await clientHello('other.test');
  const rules: [['allow', string]] = [['allow', `localhost:${origin.port},127.0.0.1`]];
  for (const [host, settings, bytes] of [
    ['127.0.0.1', {}, hello],
    ['localhost', { bypassOf: () => 'localhost' }, hello],
    ['localhost', {}, await clientHello('LocalHost')],
    ['localhost', {}, Buffer.from('SSH-2.0-OpenSSH_9\r\n')],
  ] as const) {
    const proxy = await startProxy({ rules, settings });
    t.teardown(() => proxy.close());
    const before = origin.received.length;
    const client = await say(proxy.port, connectTo(`${host}:${origin.port}`));
    await client.until('ready'); // Nobody waits for the client's first word.
    client.send(bytes);
    client.socket.end();
    while (origin.received.length < before + bytes.length) await new Promise(setImmediate);
    t.equal(origin.received.slice(before), bytes.toString('latin1'), 'it passes as it is');
    client.socket.destroy();
  }
});

tap.test('the name inside an Encrypted ClientHello is nobody', async (t) => {
  const origin = await tcpOrigin(() => {});
  t.teardown(() => origin.close());
  const proxy = await interceptor(t, [origin.port]);
  for (const outer of ['localhost', 'cloudflare-ech.com']) {
    const client = await tunnel(t, proxy, `localhost:${origin.port}`);
    client.send(withEncryptedHello(await clientHello(outer)));
    const answer = await client.bytes(7);
    // A handshake under the outer name (0x16), which is the one that was judged; or an alert (0x15).
    if (outer === 'localhost') t.equal(answer.slice(0, 3), '\x16\x03\x03', 'a ServerHello');
    else t.equal(answer, UNRECOGNIZED_NAME);
    client.socket.destroy();
  }
  t.match(await outcomeAt(proxy, 1), { code: 'SALLYPORT_TLS_NAME_MISMATCH' });
  t.equal(origin.connections, 0);
});

/** The same ClientHello with an outer encrypted_client_hello. */
function withEncryptedHello(hello: Buffer): Buffer {
  const inner = Buffer.alloc(200, 0x5a);
  const head = Buffer.from([0, 0, 1, 0, 1, 7, 0, 32, ...Buffer.alloc(32, 1), 0, inner.length]);
  return withExtension(hello, 0xfe0d, Buffer.concat([head, inner]));
}

/** The same ClientHello with one extension more. */
function withExtension(hello: Buffer, type: number, body: Buffer): Buffer {
  const extension = Buffer.concat([Buffer.from([type >> 8, type & 255, 0, body.length]), body]);
  const longer = Buffer.concat([hello, extension]);
  const more = (at: number, size: number): void => {
    longer.writeUIntBE(longer.readUIntBE(at, size) + extension.length, at, size);
  };
  more(3, 2); // The record,
  more(6, 3); // the handshake message,
  more(extensionsAt(hello), 2); // and all extensions.
  return longer;
}

function extensionsAt(hello: Buffer): number {
  let at = 5 + 4 + 2 + 32; // Behind record head, message head, version, random.
  at += 1 + hello.readUInt8(at); // legacy_session_id
  at += 2 + hello.readUInt16BE(at); // cipher_suites
  return at + 1 + hello.readUInt8(at); // legacy_compression_methods
}
