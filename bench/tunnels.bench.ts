// Question   How much memory does an idle tunnel hold?
// Budget     none yet; beside squid in the same run.
// Method     A proxy with one worker; resident memory of its processes before, and with 1,000 and
//            5,000 CONNECT tunnels open and silent, each of which has carried one exchange.
// Read as    KiB per tunnel: the difference divided by the number.
// Run        npm run bench -- tunnels [--smoke]
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Peer, Ports } from './peers/peer.ts';
import { sallyport } from './peers/sallyport.ts';
import { squid } from './peers/squid.ts';
import { firstLine, memoryKb, start, stop } from './process.ts';
import { table } from './table.ts';

const COUNTS = process.argv.includes('--smoke') ? [50] : [1_000, 5_000];
const AT_ONCE = 50;

function openTunnel(port: number, originPort: number): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect(port, '127.0.0.1', () => {
    socket.write(
      `CONNECT 127.0.0.1:${originPort} HTTP/1.1\r\nHost: 127.0.0.1:${originPort}\r\n\r\n`,
    );
  });
  let ready = false;
  socket.on('data', (chunk) => {
    if (ready) resolve(socket);
    else if (chunk.includes(' 200 ')) {
      ready = true;
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    } else reject(new Error(`no tunnel: ${chunk.toString('latin1', 0, 60)}`));
  });
  socket.once('error', reject);
  return promise;
}

async function measure(peer: Peer, folder: string, origin: Ports): Promise<string[][]> {
  const running = await peer.start(folder, origin);
  const tunnels: Socket[] = [];
  const warm = await openTunnel(running.port, origin.small);
  warm.destroy();
  const before = memoryKb(running.pid, 'VmRSS');
  const rows: string[][] = [];
  for (const count of COUNTS) {
    while (tunnels.length < count) {
      const more = Math.min(AT_ONCE, count - tunnels.length);
      tunnels.push(
        ...(await Promise.all(
          Array.from({ length: more }, () => openTunnel(running.port, origin.small)),
        )),
      );
    }
    const each = (memoryKb(running.pid, 'VmRSS') - before) / count;
    rows.push([peer.name, String(count), each.toFixed(1)]);
  }
  for (const tunnel of tunnels) tunnel.destroy();
  await running.stop();
  return rows;
}

const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));
try {
  const originProcess = start(process.execPath, [join(import.meta.dirname, 'origin.ts')]);
  const origin = await firstLine<Ports>(originProcess);
  const rows: string[][] = [];
  for (const peer of [sallyport, squid]) {
    if (peer.missing() === null) rows.push(...(await measure(peer, folder, origin)));
  }
  process.stdout.write(table(['proxy', 'tunnels', 'KiB each'], rows));
  await stop(originProcess);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
