// The origin that every proxy is measured against, in a process of its own so that its work is not
// the proxy's. Small answers without parsing; bulk both ways. Prints its ports as JSON.
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

const SMALL = Buffer.from(
  'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!',
);
const CHUNK = Buffer.alloc(1 << 20, 'a');

/** Answers each head with the same few bytes; `\r\n\r\n` may be split between reads. */
function answerSmall(socket: Socket): void {
  let rest = '';
  socket.on('end', () => socket.end());
  socket.on('data', (chunk) => {
    const heads = (rest + chunk.toString('latin1')).split('\r\n\r\n');
    rest = heads.pop() ?? '';
    if (heads.length > 0)
      socket.write(heads.length === 1 ? SMALL : Buffer.concat(heads.map(() => SMALL)));
  });
}

/** First line `down N`: sends N MiB and ends. `up`: reads to the end and answers with one byte. */
function bulk(socket: Socket): void {
  socket.once('data', (first) => {
    const [direction, size] = first.toString('latin1').split(/\s/);
    if (direction === 'up') {
      socket.resume().on('end', () => socket.end('.'));
      return;
    }
    let left = Number(size);
    const send = (): void => {
      while (left-- > 0) if (!socket.write(CHUNK)) return void socket.once('drain', send);
      socket.end();
    };
    send();
  });
}

async function listen(onSocket: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    onSocket(socket);
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, resolve);
  await promise;
  return (server.address() as AddressInfo).port;
}

const ports = { small: await listen(answerSmall), bulk: await listen(bulk) };
process.stdout.write(`${JSON.stringify(ports)}\n`);
process.stdin.resume().on('end', () => process.exit(0)); // Ends with the bench, however that ends.
