import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { API_SOCKET_PATH_BYTES_MAX } from '../../src/base/limits.ts';
import { createFolders, resolvePaths } from '../../src/control/paths.ts';
import { temporaryEnv, temporaryFolder } from '../helpers/control.ts';

t.test('follows the XDG variables, and goes without', async (t) => {
  const env = { XDG_STATE_HOME: '/s', XDG_CONFIG_HOME: '/c', XDG_RUNTIME_DIR: '/r', HOME: '/h' };
  const paths = resolvePaths(env);
  t.match(paths, { state: '/s/sallyport', config: '/c/sallyport', runtime: '/r/sallyport' });
  t.equal(dirname(paths.socket), '/r/sallyport');
  const bare = resolvePaths({ HOME: '/h', XDG_STATE_HOME: 'relative' });
  t.match(bare, { state: '/h/.local/state/sallyport', config: '/h/.config/sallyport' });
  t.equal(dirname(bare.socket), bare.state);
});

t.test('the key of the secrets lies in the state folder, or where it is said', async (t) => {
  const env = { XDG_STATE_HOME: '/s', HOME: '/h' };
  t.equal(resolvePaths(env).vaultKey, '/s/sallyport/vault.key');
  t.equal(resolvePaths({ ...env, SALLYPORT_KEY_FILE: '' }).vaultKey, '/s/sallyport/vault.key');
  t.equal(resolvePaths({ ...env, SALLYPORT_KEY_FILE: '/run/key' }).vaultKey, '/run/key');
  const usage = { code: 'SALLYPORT_USAGE', message: /no absolute path: key/ };
  t.throws(() => resolvePaths({ ...env, SALLYPORT_KEY_FILE: 'key' }), usage);
});

t.test('instances with one runtime folder have sockets of their own', async (t) => {
  const [a, b] = ['/a', '/b'].map((state) =>
    resolvePaths({ XDG_STATE_HOME: state, XDG_RUNTIME_DIR: '/r', HOME: '/h' }),
  );
  t.not(a?.socket, b?.socket);
});

t.test('a socket path that is too long for the system is put elsewhere', async (t) => {
  const paths = resolvePaths({ XDG_STATE_HOME: `/${'long/'.repeat(40)}`, HOME: '/h' });
  t.ok(Buffer.byteLength(paths.socket) <= API_SOCKET_PATH_BYTES_MAX);
  t.ok(paths.socket.startsWith(tmpdir()));
});

t.test("folders are made, and are the user's alone", async (t) => {
  const env = temporaryEnv(t);
  const paths = resolvePaths(env);
  createFolders(paths);
  for (const folder of [paths.state, paths.runtime, paths.audit]) {
    t.equal(statSync(folder).mode & 0o777, 0o700);
  }
  chmodSync(paths.state, 0o755);
  createFolders(paths);
  t.equal(statSync(paths.state).mode & 0o777, 0o700, 'an open one is closed');
});

t.test('a runtime folder that is a link or a file is refused', async (t) => {
  const folder = temporaryFolder(t);
  const env = (name: string) => ({
    XDG_STATE_HOME: join(folder, 'state'),
    XDG_CONFIG_HOME: join(folder, 'config'),
    XDG_RUNTIME_DIR: join(folder, name),
  });
  mkdirSync(join(folder, 'real'));
  mkdirSync(join(folder, 'linked'));
  symlinkSync(join(folder, 'real'), join(folder, 'linked', 'sallyport'));
  t.throws(() => createFolders(resolvePaths(env('linked'))), { code: 'SALLYPORT_USAGE' });
  mkdirSync(join(folder, 'file'));
  writeFileSync(join(folder, 'file', 'sallyport'), '');
  t.throws(() => createFolders(resolvePaths(env('file'))));
});
