// haproxy as a floor, not a peer: a reverse proxy that knows its one destination, decides nothing and
// logs nothing. HTTP mode for small exchanges, TCP mode for bulk.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accepting, start, stop, which } from '../process.ts';
import { freePort, type Peer, type Ports, type Running } from './peer.ts';

async function run(folder: string, mode: 'http' | 'tcp', destination: number): Promise<Running> {
  const port = await freePort();
  const path = join(folder, `haproxy-${mode}.cfg`);
  writeFileSync(
    path,
    `global
  nbthread 1
  maxconn 4000
defaults
  mode ${mode}
  timeout client 60s
  timeout server 60s
  timeout connect 5s
${mode === 'http' ? '  http-reuse always\n' : ''}listen all
  bind 127.0.0.1:${port}
  server origin 127.0.0.1:${destination}
`,
  );
  const child = start(which('haproxy') ?? '', ['-db', '-f', path]);
  await accepting(port, child);
  return { port, pid: child.pid ?? 0, stop: () => stop(child) };
}

const missing = (): string | null => (which('haproxy') === null ? 'apt-get install haproxy' : null);

export const haproxyHttp: Peer = {
  name: 'haproxy',
  takes: 'http-direct',
  missing,
  start: (folder: string, origin: Ports) => run(folder, 'http', origin.small),
};

export const haproxyTcp: Peer = {
  name: 'haproxy-tcp',
  takes: 'bulk-direct',
  missing,
  start: (folder: string, origin: Ports) => run(folder, 'tcp', origin.bulk),
};
