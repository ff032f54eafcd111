// What every command works with: where it writes, whether a person is there, and the daemon, which
// is started when a command needs it and none runs.
import { SallyportError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { ControlClient } from '../control/api/client.ts';
import type { DaemonStatus } from '../control/api/services.ts';
import { type Env, type Paths, resolvePaths } from '../control/paths.ts';
import { spawnDaemon } from '../control/spawn.ts';
import type { Terminal } from './prompt.ts';
import { rememberedStart, rememberStart, type StartOption } from './start-options.ts';

/** What the options of every command say; false until the words are read. */
export type Globals = { noInput: boolean; debug: boolean };

export type Context = {
  /** `sallyport` or `sbx`: how the user calls us. */
  readonly program: string;
  readonly version: string;
  readonly env: Env;
  readonly paths: Paths;
  /** What was typed behind the program's name. */
  readonly words: readonly string[];
  readonly globals: Globals;
  /** Where a person can be asked; null when nobody is there, or nothing may be asked. */
  readonly terminal: Terminal | null;
  /**
   * Reads what is piped in, to its end or a little past `bytesMax` (default: what a secret may have);
   * null when stdin is a terminal.
   */
  readonly stdin: ((bytesMax?: number) => Promise<string>) | null;
  /** Columns to wrap at; 0 when the output is no terminal. */
  readonly columns: number;
  /** The arguments that run this program again: its launcher. */
  readonly launcher: string;
  readonly out: (text: string | Uint8Array) => void;
  readonly err: (text: string) => void;
  /** One line for --debug; nothing without it. Never a secret. */
  readonly debug: (text: string) => void;
  /** Ends the command with this code once its output is written. */
  readonly exitWith: (code: number) => void;
  /**
   * Calls `handler` with the exit code when a signal comes or nobody reads the output any more,
   * in place of ending at once. @returns a function that ends this.
   */
  readonly onInterrupt: (handler: (exitCode: number) => void) => () => void;
};

/** What a context is made of. */
export type Surroundings = Omit<Context, 'paths' | 'globals' | 'debug' | 'words'> & {
  readonly words?: readonly string[];
};

export function createContext(given: Surroundings): Context {
  const globals: Globals = { noInput: false, debug: false };
  return {
    words: [],
    ...given,
    paths: resolvePaths(given.env),
    globals,
    get terminal() {
      return globals.noInput ? null : given.terminal;
    },
    debug: (text) => {
      if (globals.debug) given.err(`DEBUG: ${printable(text)}\n`);
    },
  };
}

/** The daemon's API; with --debug, each call is a line. Bodies are not: they may have secrets. */
export function clientFor({ paths, debug }: Context): ControlClient {
  return new ControlClient(paths.socket, (method, path, status, ms) =>
    debug(`${method} ${path}: ${status}, ${ms.toFixed(1)} ms`),
  );
}

/**
 * Runs `use` with the control API; starts a daemon first when none runs.
 *
 * @throws what the daemon answers, or what kept it from starting.
 */
export async function withDaemon<T>(
  context: Context,
  use: (client: ControlClient) => Promise<T>,
  start: 'start' | 'must-run' = 'start',
): Promise<T> {
  const client = clientFor(context);
  try {
    if (!(await isRunning(client))) {
      if (start === 'must-run') {
        throw new SallyportError('SALLYPORT_DAEMON_UNREACHABLE', 'the daemon is not running');
      }
      context.debug('no daemon runs; starting one as it was last started');
      await startDetached(context, rememberedStart(context.paths));
    }
    return await use(client);
  } finally {
    await client.close();
  }
}

/** Starts the daemon in the background. @returns its status, or null when one ran already. */
export async function startDetached(
  { env, paths, launcher }: Context,
  options: readonly StartOption[],
): Promise<DaemonStatus | null> {
  const words = options.flatMap(([flag, value]) => (value === undefined ? [flag] : [flag, value]));
  const word = await spawnDaemon({
    command: process.execPath,
    args: [launcher, 'daemon', 'start', '--log-to-file', ...words],
    env,
    paths,
  });
  if (word.type !== 'ready') return null;
  rememberStart(paths, options);
  return word.status;
}

export async function isRunning(client: ControlClient): Promise<boolean> {
  try {
    await client.get('/daemon/health');
    return true;
  } catch (error) {
    if (error instanceof SallyportError && error.code === 'SALLYPORT_DAEMON_UNREACHABLE')
      return false;
    throw error;
  }
}

/** One JSON document, as `--json` prints it. */
export function printJson({ out }: Context, value: unknown): void {
  out(`${JSON.stringify(value, null, 2)}\n`);
}
