// gRPC through an intercepted host with a credential injected: all four kinds of call, status and
// trailers, between its own client and its own server.
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import {
  Client,
  credentials,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import tap, { type Test } from 'tap';
import { certificate, interceptor, SECRET } from '../helpers/intercept.ts';
import { connectTo, wire, within } from '../helpers/wire.ts';

type Method = MethodDefinition<Buffer, Buffer>;

function method(name: string, requestStream: boolean, responseStream: boolean): Method {
  const same = (value: Buffer): Buffer => value;
  return {
    path: `/tests.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

const ECHO = {
  unary: method('unary', false, false),
  gather: method('gather', true, false),
  scatter: method('scatter', false, true),
  chat: method('chat', true, true),
  fail: method('fail', false, false),
};

async function echoServer(t: Test): Promise<{ port: number; seen: string[] }> {
  const seen: string[] = [];
  const server = new Server();
  server.addService(ECHO, {
    unary: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      seen.push(String(call.metadata.get('authorization')[0]));
      const trailer = new Metadata();
      trailer.set('x-trailer', 'there');
      done(null, call.request, trailer);
    },
    gather: (call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      const all: Buffer[] = [];
      call.on('data', (chunk: Buffer) => all.push(chunk));
      call.on('end', () => done(null, Buffer.concat(all)));
    },
    scatter: (call: ServerWritableStream<Buffer, Buffer>) => {
      for (const byte of call.request) call.write(Buffer.of(byte));
      call.end();
    },
    chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (chunk: Buffer) => call.write(chunk));
      call.on('end', () => call.end());
    },
    fail: (_: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
      done({ code: status.RESOURCE_EXHAUSTED, details: 'no more' }),
  });
  const keys = [
    { private_key: Buffer.from(certificate.key), cert_chain: Buffer.from(certificate.cert) },
  ];
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync('localhost:0', ServerCredentials.createSsl(null, keys), (error, port) =>
    error === null ? resolve(port) : reject(error),
  );
  t.teardown(() => server.forceShutdown());
  return { port: await promise, seen };
}

/** A listener whose connections each open a tunnel: gRPC's client knows no proxy for localhost. */
async function doorTo(t: Test, proxyPort: number, authority: string): Promise<number> {
  const sockets: Socket[] = [];
  const door = createServer({ allowHalfOpen: true }, async (socket) => {
    sockets.push(socket);
    socket.pause();
    const tunnel = await wire(proxyPort);
    sockets.push(tunnel.socket);
    tunnel.send(connectTo(authority));
    await tunnel.until('\r\n\r\n');
    tunnel.socket.removeAllListeners('data');
    socket.on('error', () => {});
    socket.pipe(tunnel.socket).pipe(socket);
  });
  door.listen(0, '127.0.0.1');
  await once(door, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    door.close();
  });
  return (door.address() as AddressInfo).port;
}

tap.test('unary, client, server and bidirectional streaming', async (t) => {
  const { port, seen } = await echoServer(t);
  const proxy = await interceptor(t, [port]);
  const door = await doorTo(t, proxy.port, `localhost:${port}`);
  const client = new Client(
    `localhost:${door}`,
    credentials.createSsl(Buffer.from(certificate.authority)),
    { 'grpc.default_authority': `localhost:${port}` },
  );
  t.teardown(() => client.close());
  const { requestSerialize: out, responseDeserialize: into } = ECHO.unary;

  const trailers = Promise.withResolvers<Metadata>();
  const answer = await within(
    'unary',
    new Promise<Buffer>((resolve, reject) => {
      const call = client.makeUnaryRequest(
        ECHO.unary.path,
        out,
        into,
        Buffer.from('hello'),
        (error, value) => (error ? reject(error) : resolve(value ?? Buffer.alloc(0))),
      );
      call.on('status', (given) => trailers.resolve(given.metadata));
    }),
  );
  t.equal(String(answer), 'hello');
  t.same(seen, [`Bearer ${SECRET}`], 'the credential is injected');
  t.same((await trailers.promise).get('x-trailer'), ['there']);

  const gathered = new Promise<Buffer>((resolve, reject) => {
    const call = client.makeClientStreamRequest(ECHO.gather.path, out, into, (error, value) =>
      error ? reject(error) : resolve(value ?? Buffer.alloc(0)),
    );
    for (let i = 0; i < 100; i++) call.write(Buffer.alloc(10_000, i));
    call.end();
  });
  t.equal((await within('client streaming', gathered)).length, 1_000_000);

  const scattered: number[] = [];
  const pieces = client.makeServerStreamRequest(
    ECHO.scatter.path,
    out,
    into,
    Buffer.from([1, 2, 3]),
  );
  pieces.on('data', (chunk: Buffer) => scattered.push(chunk[0] ?? 0));
  await within('server streaming', once(pieces, 'end'));
  t.same(scattered, [1, 2, 3]);

  const chat = client.makeBidiStreamRequest(ECHO.chat.path, out, into);
  for (const word of ['one', 'two', 'three']) {
    chat.write(Buffer.from(word));
    const [echo] = await within('the echo, before the next word', once(chat, 'data'));
    t.equal(String(echo), word);
  }
  chat.end();
  const [end] = await within('the status', once(chat, 'status'));
  t.equal(end.code, status.OK);

  const failed = await within(
    'the failure',
    new Promise<ServiceError | null>((resolve) => {
      client.makeUnaryRequest(ECHO.fail.path, out, into, Buffer.alloc(0), (error) =>
        resolve(error),
      );
    }),
  );
  t.match(failed, { code: status.RESOURCE_EXHAUSTED, details: 'no more' });
});
