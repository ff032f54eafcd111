// Commands run in this process, against a daemon in this process over its real socket: fast enough
// to try every spelling. With keys, a person is there and types them.
import { dirname } from 'node:path';
import { PassThrough } from 'node:stream';
import { runCommand } from '../../src/cli/command.ts';
import type { World } from '../helpers/control.ts';

export type Said = { readonly code: number; readonly out: string; readonly err: string };

type More = {
  readonly piped?: string;
  readonly env?: Record<string, string>;
  readonly interrupt?: number;
};

/** @param keys  what the person types once the question stands there; null: nobody is there. */
export async function say(
  { paths }: Pick<World, 'paths'>,
  words: readonly string[],
  keys: string | null = null,
  { piped = '', env = {}, interrupt }: More = {},
): Promise<Said> {
  let [out, err] = ['', ''];
  const [input, output] = [new PassThrough(), new PassThrough()];
  output.once('data', () => setImmediate(() => input.write(keys ?? '')));
  output.on('data', (text) => {
    out += text;
  });
  const code = await runCommand(
    {
      program: 'sbx',
      version: '0.0.0',
      env: {
        XDG_STATE_HOME: dirname(paths.state),
        XDG_CONFIG_HOME: dirname(paths.config),
        XDG_RUNTIME_DIR: dirname(paths.runtime),
        ...env,
      },
      terminal: keys === null ? null : { input, output },
      stdin: keys === null ? async () => piped : null,
      columns: 0,
      launcher: '/nonexistent', // Nothing here may start a daemon.
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
      onInterrupt: (handler) => {
        if (interrupt !== undefined) handler(interrupt); // At once.
        return () => {};
      },
    },
    words,
  );
  return { code, out, err };
}
