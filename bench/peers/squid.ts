// squid, one worker, no cache; its access log goes to a file, since Sallyport writes an audit too.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accepting, start, stop, which } from '../process.ts';
import { freePort, type Peer } from './peer.ts';

export const squid: Peer = {
  name: 'squid',
  takes: 'proxy',
  missing: () => (which('squid') === null ? 'apt-get install squid' : null),
  start: async (folder) => {
    const port = await freePort();
    const path = join(folder, 'squid.conf');
    chmodSync(folder, 0o777); // Started as root, squid becomes a user of its own before it opens its logs.
    writeFileSync(
      path,
      `http_port 127.0.0.1:${port}
http_access allow all
cache deny all
memory_cache_shared off
access_log stdio:${folder}/squid-access.log
cache_log ${folder}/squid-cache.log
pid_filename none
coredump_dir ${folder}
pinger_enable off
workers 1
shutdown_lifetime 0 seconds
`,
    );
    const child = start(which('squid') ?? '', ['-N', '-f', path]);
    await accepting(port, child);
    return { port, pid: child.pid ?? 0, stop: () => stop(child) };
  },
};
