// mitmproxy as `mitmdump`, which writes nothing about the flows here, and keeps none.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { accepting, start, stop, which } from '../process.ts';
import { freePort, type TlsPeer } from './peer.ts';

export const mitmproxy: TlsPeer = {
  name: 'mitmproxy',
  http2: true,
  missing: () => (which('mitmdump') === null ? 'apt-get install mitmproxy' : null),
  start: async (folder, { authorityFile }) => {
    const port = await freePort();
    const own = join(folder, 'mitmproxy');
    mkdirSync(own);
    const options = {
      confdir: own,
      listen_host: '127.0.0.1',
      listen_port: port,
      ssl_verify_upstream_trusted_ca: authorityFile,
      flow_detail: 0,
    };
    const words = Object.entries(options).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
    const child = start(which('mitmdump') ?? '', ['--quiet', ...words]);
    await accepting(port, child);
    return { port, pid: child.pid ?? 0, stop: () => stop(child) };
  },
};
