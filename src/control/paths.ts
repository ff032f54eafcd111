// Where an instance keeps its things (XDG Base Directory). Several run side by side when their XDG
// variables differ. Folders are the user's alone, and so is what lies in them.
import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, statSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import { API_SOCKET_PATH_BYTES_MAX } from '../base/limits.ts';

export type Paths = {
  /** What `~` stands for in filesystem rules. */
  readonly home: string;
  readonly state: string;
  readonly config: string;
  /** The settings that a user made. */
  readonly settings: string;
  readonly runtime: string;
  readonly socket: string;
  readonly policyDatabase: string;
  readonly logDatabase: string;
  readonly lockDatabase: string;
  /** What secrets are sealed with, or where that is. */
  readonly vaultKey: string;
  /** Whether SALLYPORT_KEY_FILE says so. */
  readonly vaultKeyProvided: boolean;
  /** The certificate authority, with its key. */
  readonly authority: string;
  /** The files that sandboxes may have. */
  readonly trust: string;
  readonly audit: string;
  readonly daemonLog: string;
};

/** Environment variables. */
export type Env = Readonly<Record<string, string | undefined>>;

/**
 * Finds the paths; creates nothing.
 *
 * @param env  XDG_STATE_HOME, XDG_CONFIG_HOME, XDG_RUNTIME_DIR and HOME are read. Relative ones are
 *   passed over, as the XDG specification says. SALLYPORT_KEY_FILE is where the key of the secrets
 *   lies when not in the state folder.
 * @throws SALLYPORT_USAGE
 */
export function resolvePaths(env: Env): Paths {
  const home = absolute(env.HOME) ?? homedir();
  const state = join(absolute(env.XDG_STATE_HOME) ?? join(home, '.local', 'state'), 'sallyport');
  const config = join(absolute(env.XDG_CONFIG_HOME) ?? join(home, '.config'), 'sallyport');
  const runtimeHome = absolute(env.XDG_RUNTIME_DIR);
  // The name of the socket carries the state it belongs to: instances may share a runtime folder.
  const name = `${createHash('sha256').update(state).digest('hex').slice(0, 16)}.sock`;
  const wanted = runtimeHome === undefined ? state : join(runtimeHome, 'sallyport');
  const provided = vaultKeyOf(env.SALLYPORT_KEY_FILE);
  const short = `sallyport-${userInfo().uid}`;
  const runtime =
    [wanted, join(tmpdir(), short)].find(
      (folder) => Buffer.byteLength(join(folder, name)) <= API_SOCKET_PATH_BYTES_MAX,
    ) ?? join('/tmp', short);
  return {
    home,
    state,
    config,
    settings: join(config, 'settings.json'),
    runtime,
    socket: join(runtime, name),
    policyDatabase: join(state, 'policy.db'),
    logDatabase: join(state, 'log.db'),
    lockDatabase: join(state, 'lock.db'),
    vaultKey: provided ?? join(state, 'vault.key'),
    vaultKeyProvided: provided !== undefined,
    authority: join(state, 'authority.json'),
    trust: join(state, 'trust'),
    audit: join(state, 'audit'),
    daemonLog: join(state, 'daemon.log'),
  };
}

/**
 * Creates the folders, mode 0700.
 *
 * @throws SALLYPORT_USAGE when one is not the user's own or is no folder: somebody else could put
 *   a socket there and be taken for the daemon.
 */
export function createFolders(paths: Paths): void {
  for (const folder of [paths.state, paths.config, paths.runtime, paths.audit]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid } = userInfo();
    // Others may write beside the runtime folder (/tmp), so there a link is not followed.
    const status = folder === paths.runtime ? lstatSync(folder) : statSync(folder);
    if (!status.isDirectory() || (uid >= 0 && status.uid !== uid)) {
      throw new SallyportError('SALLYPORT_USAGE', `${folder} is not a folder of this user`);
    }
    if ((status.mode & 0o077) !== 0) chmodSync(folder, 0o700);
  }
}

/** A daemon has another working folder than the command that starts it. */
function vaultKeyOf(path: string | undefined): string | undefined {
  if (path === undefined || path === '' || isAbsolute(path)) return path || undefined;
  throw new SallyportError('SALLYPORT_USAGE', `SALLYPORT_KEY_FILE is no absolute path: ${path}`);
}

function absolute(path: string | undefined): string | undefined {
  return path !== undefined && isAbsolute(path) ? path : undefined;
}
