// The origin behind interception, in a process of its own: TLS on one port, HTTP/1.1 without parsing,
// HTTP/2 with gRPC unary calls. Says in 13 bytes whether the credential came along.
// `tls-origin.ts KEY_FILE CERTIFICATE_FILE`; prints its port as JSON.
import { readFileSync } from 'node:fs';
import { performServerHandshake, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { GRPC_PREFIX, NO_SECRET_SEEN, SECRET, SECRET_SEEN } from './tls-credential.ts';

function answerOf(text: string): Buffer {
  const head = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${text.length}\r\n\r\n`;
  return Buffer.from(head + text);
}
const YES = answerOf(SECRET_SEEN);
const NO = answerOf(NO_SECRET_SEEN);

/** Answers each head; `\r\n\r\n` may be split between reads. */
function http1(socket: TLSSocket): void {
  let rest = '';
  socket.on('data', (chunk) => {
    const heads = (rest + chunk.toString('latin1')).split('\r\n\r\n');
    rest = heads.pop() ?? '';
    for (const head of heads) socket.write(head.includes(SECRET) ? YES : NO);
  });
  socket.on('end', () => socket.end());
}

const FRAMED_YES = Buffer.concat([GRPC_PREFIX, Buffer.from(SECRET_SEEN)]);
const FRAMED_NO = Buffer.concat([GRPC_PREFIX, Buffer.from(NO_SECRET_SEEN)]);

function grpc(stream: ServerHttp2Stream, seen: boolean): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(seen ? FRAMED_YES : FRAMED_NO);
}

function http2(socket: TLSSocket): void {
  const session = performServerHandshake(socket);
  session.on('error', () => {});
  session.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    const seen = headers.authorization?.includes(SECRET) === true;
    if (headers['content-type'] === 'application/grpc') {
      stream.resume().once('end', () => grpc(stream, seen));
      return;
    }
    const text = seen ? SECRET_SEEN : NO_SECRET_SEEN;
    stream.respond({ ':status': 200, 'content-type': 'text/plain', 'content-length': text.length });
    stream.end(text);
  });
}

const [keyFile = '', certificateFile = ''] = process.argv.slice(2);
const server = createServer(
  {
    key: readFileSync(keyFile),
    cert: readFileSync(certificateFile),
    ALPNProtocols: ['h2', 'http/1.1'],
    noDelay: true,
  },
  (socket) => {
    socket.on('error', () => {});
    if (socket.alpnProtocol === 'h2') http2(socket);
    else http1(socket);
  },
);
server.on('tlsClientError', () => {});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});
process.stdin.resume().on('end', () => process.exit(0)); // Ends with the bench, however that ends.
