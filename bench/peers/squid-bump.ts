// squid that ends TLS: Debian's squid-openssl, one worker, no cache, an access log, certificates made
// by its helper. Bumped at step 1, which is cheaper for it than to ask the origin first: then each of
// its client's connections would open one of its own, too.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accepting, start, stop, which } from '../process.ts';
import { benchAuthority } from '../tls-authority.ts';
import { freePort, type Running, type TlsOrigin, type TlsPeer } from './peer.ts';

const HELPER = '/usr/lib/squid/security_file_certgen';

function missing(): string | null {
  return which('squid') !== null && existsSync(HELPER) ? null : 'apt-get install squid-openssl';
}

/** @param key  of the authority; squid's leaves take it over as their own. */
async function run(folder: string, key: 'ec' | 'rsa', origin: TlsOrigin): Promise<Running> {
  const port = await freePort();
  const own = join(folder, `squid-${key}`);
  mkdirSync(own);
  // Started as root, squid becomes a user of its own before it opens its logs.
  for (const one of [folder, own]) chmodSync(one, 0o777);
  const { certificatePem, keyPem } = benchAuthority('Bench squid', key);
  writeFileSync(join(own, 'authority.pem'), certificatePem + keyPem);
  const certificates = join(own, 'certificates');
  execFileSync(HELPER, ['-c', '-s', certificates, '-M', '4MB']);
  opened(certificates);
  const path = join(own, 'squid.conf');
  writeFileSync(
    path,
    `http_port 127.0.0.1:${port} ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB tls-cert=${own}/authority.pem
sslcrtd_program ${HELPER} -s ${certificates} -M 4MB
sslcrtd_children 1 startup=1 idle=1
ssl_bump bump all
tls_outgoing_options cafile=${origin.authorityFile}
http_access allow all
cache deny all
memory_cache_shared off
access_log stdio:${own}/access.log
cache_log ${own}/cache.log
pid_filename none
coredump_dir ${own}
pinger_enable off
workers 1
shutdown_lifetime 0 seconds
`,
  );
  // What another squid left there under the same name would stop this one.
  for (const name of readdirSync('/dev/shm')) {
    if (name.startsWith('squid-')) rmSync(join('/dev/shm', name), { force: true });
  }
  const child = start(which('squid') ?? '', ['-N', '-f', path]);
  await accepting(port, child);
  return { port, pid: child.pid ?? 0, stop: () => stop(child) };
}

function opened(folder: string): void {
  chmodSync(folder, 0o777);
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o777 : 0o666);
  }
}

/** As its documentation says. */
export const squidRsa: TlsPeer = {
  name: 'squid-rsa',
  http2: false,
  missing,
  start: (folder, origin) => run(folder, 'rsa', origin),
};

/** With P-256, as ours. */
export const squidEc: TlsPeer = {
  name: 'squid-ec',
  http2: false,
  missing,
  start: (folder, origin) => run(folder, 'ec', origin),
};
