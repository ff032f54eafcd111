// proxy-chain, the Node proxy that many tools embed, in a process of its own.
import { firstLine, start, stop } from '../process.ts';
import type { Peer } from './peer.ts';

const PROGRAM = `
import { Server } from 'proxy-chain';
const server = new Server({ port: 0, host: '127.0.0.1' });
await server.listen();
process.stdout.write(JSON.stringify({ port: server.port }) + '\\n');
`;

export const proxyChain: Peer = {
  name: 'proxy-chain',
  takes: 'proxy',
  missing: () => null,
  start: async () => {
    const child = start(process.execPath, ['--input-type=module', '-e', PROGRAM]);
    const { port } = await firstLine<{ port: number }>(child);
    return { port, pid: child.pid ?? 0, stop: () => stop(child) };
  },
};
