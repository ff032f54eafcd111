// The bearer token for an organisation's server: from a file that others keep fresh, or from a
// command of the user's. It is never stored, and never in a log or a message.
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import { GOVERNANCE_TOKEN_BYTES_MAX, SECRET_REFRESH_MS } from '../../base/limits.ts';
import { CommandSource } from '../../credentials/sources.ts';
import { contentOf } from './content.ts';
import type { TokenSource } from './server.ts';
import { failed } from './source.ts';

/** Read for each look: agents that hand tokens out replace the file. */
export function tokenInFile(path: string): TokenSource {
  return {
    async token() {
      const text = (await contentOf(path, GOVERNANCE_TOKEN_BYTES_MAX, 'token')).toString();
      return checked(text.trim(), `the token file ${path}`);
    },
  };
}

/** Run at most once in SECRET_REFRESH_MS, and when the server refuses what it gave. */
export function tokenOfCommand(command: string, clock: Clock, signal: AbortSignal): TokenSource {
  const source = new CommandSource({ command, refreshMs: SECRET_REFRESH_MS, clock, signal });
  return {
    async token(fresh) {
      const asked = fresh ? source.fetch() : source.value();
      const text = await asked.catch((cause: unknown) => {
        const why = cause instanceof SallyportError ? cause.message : 'failed';
        throw failed(why.replace('of the secret', 'for the governance token'), cause);
      });
      return checked(text.trim(), 'the command for the governance token');
    },
  };
}

/** It goes into a header field: RFC 6750 section 2.1, and whatever else is visible. */
function checked(token: string, what: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw failed(`${what} gives no token`);
}
