// A name server for tests: every name leads to this machine.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Test } from 'tap';

const TYPE_A = 1;
const LOOPBACK = Buffer.from([127, 0, 0, 1]);

/** @returns `ip:port` of a server that answers 127.0.0.1 for any A question, and nothing for others. */
export async function loopbackDns(t: Test): Promise<string> {
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => socket.send(answerTo(query), port, address));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => void socket.close());
  return `127.0.0.1:${socket.address().port}`;
}

/** RFC 1035 section 4.1: header, the question as it came, and one answer that points back at its name. */
function answerTo(query: Buffer): Buffer {
  const end = query.indexOf(0, 12) + 1; // Of the name; its labels hold no zero.
  const question = query.subarray(12, end + 4);
  const isA = query.readUInt16BE(end) === TYPE_A;
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(0x8180, 2); // A response without an error, recursion available.
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(isA ? 1 : 0, 6);
  header.writeUInt32BE(0, 8);
  if (!isA) return Buffer.concat([header, question]);
  const record = Buffer.from([0xc0, 12, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, LOOPBACK.length]);
  return Buffer.concat([header, question, record, LOOPBACK]);
}
