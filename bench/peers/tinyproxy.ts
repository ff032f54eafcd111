// tinyproxy, in the foreground, with a thread a connection; its log goes to a file.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accepting, start, stop, which } from '../process.ts';
import { freePort, type Peer } from './peer.ts';

export const tinyproxy: Peer = {
  name: 'tinyproxy',
  takes: 'proxy',
  missing: () => (which('tinyproxy') === null ? 'apt-get install tinyproxy' : null),
  start: async (folder) => {
    const port = await freePort();
    const path = join(folder, 'tinyproxy.conf');
    writeFileSync(
      path,
      `Port ${port}
Listen 127.0.0.1
Timeout 60
MaxClients 2000
LogFile "${folder}/tinyproxy.log"
LogLevel Connect
Allow 127.0.0.1
`,
    );
    const child = start(which('tinyproxy') ?? '', ['-d', '-c', path]);
    await accepting(port, child);
    return { port, pid: child.pid ?? 0, stop: () => stop(child) };
  },
};
