// Who governs this daemon, by its options: a server, a signed file, whoever did before, or nobody.
import { setTimeout } from 'node:timers/promises';
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import {
  GOVERNANCE_GRACE_MS,
  GOVERNANCE_INTERVAL_MS,
  GOVERNANCE_START_MS,
} from '../../base/limits.ts';
import type { Closing } from '../closing.ts';
import type { Configuration } from '../configuration.ts';
import type { Managed } from '../managed.ts';
import type { Store } from '../store.ts';
import { describe, type Surroundings } from '../surroundings.ts';
import { governanceFile } from './file.ts';
import { governanceServer } from './server.ts';
import { failed, type GovernanceSource } from './source.ts';
import { GovernanceSync } from './sync.ts';
import { tokenInFile, tokenOfCommand } from './token.ts';

export type GovernanceOptions = {
  /** URL of an organisation, or absolute path of a signed file or folder. */
  readonly source: string;
  /** PEM of the public keys that may sign a file. */
  readonly keys: readonly string[];
  readonly tokenFile?: string | undefined;
  /** Prints the token. */
  readonly tokenCommand?: string | undefined;
  /** That this daemon is of. */
  readonly teams: readonly string[];
  readonly intervalMs: number;
  readonly graceMs: number;
};

type Parts = {
  readonly managed: Pick<Managed, 'policy' | 'configure'>;
  readonly store: Store;
  readonly trusted: Configuration['trusted'];
};

/**
 * Begins to govern; what was granted before holds meanwhile, within its grace.
 *
 * @param options  'off': nobody governs any more. undefined: whoever governed before does still, but
 *   nobody is asked.
 * @returns null when nobody does.
 * @throws SALLYPORT_USAGE
 */
export async function startGovernance(
  options: GovernanceOptions | 'off' | undefined,
  { managed, store, trusted }: Parts,
  { clock, logger }: Pick<Surroundings, 'clock' | 'logger'>,
  closing: Closing,
): Promise<GovernanceSync | null> {
  const { policy, configure } = managed;
  if (options === 'off') {
    if (policy.governance !== null) await policy.govern(null);
    store.setSyncRecord(null);
    return null;
  }
  if (options === undefined && policy.governance === null) return null;
  const stop = new AbortController();
  const source =
    options === undefined
      ? forgottenSource(store.syncRecord()?.source ?? '')
      : sourceOf(options, trusted, clock, stop.signal);
  const { intervalMs = GOVERNANCE_INTERVAL_MS, graceMs = GOVERNANCE_GRACE_MS } = options ?? {};
  const sync = await GovernanceSync.begin({
    source,
    policy,
    store,
    clock,
    intervalMs,
    graceMs,
    configure,
    report: (message, error) => {
      if (error === null) logger.info(message);
      else if (error instanceof SallyportError) logger.warn(`governance: ${message}`);
      else logger.error({ error: describe(error) }, 'governance: a look failed');
    },
  });
  closing.push(() => sync.close());
  closing.push(() => stop.abort()); // Before that: it may wait for the command of the token.
  const first = sync.refresh().catch(() => {}); // It was reported.
  if (sync.state.status === 'unavailable') {
    await Promise.race([first, setTimeout(GOVERNANCE_START_MS, undefined, { ref: false })]);
  }
  return sync;
}

/** @throws SALLYPORT_USAGE */
function sourceOf(
  { source, keys, teams, tokenFile, tokenCommand }: GovernanceOptions,
  trusted: Parts['trusted'],
  clock: Clock,
  signal: AbortSignal,
): GovernanceSource {
  if (!source.includes('://')) {
    return governanceFile({ path: source, keys, teams, nowMs: () => clock.wallMs() });
  }
  if ((tokenFile === undefined) === (tokenCommand === undefined)) {
    throw new SallyportError(
      'SALLYPORT_USAGE',
      'a governance server needs --governance-token-file or --governance-token-command',
    );
  }
  const token =
    tokenFile === undefined
      ? tokenOfCommand(tokenCommand ?? '', clock, signal)
      : tokenInFile(tokenFile);
  return governanceServer({ url: source, token, teams, trusted });
}

/** To forget an option must not free a daemon: that is asked for by name. */
function forgottenSource(name: string): GovernanceSource {
  return {
    name,
    organization: null,
    async fetch() {
      throw failed(
        'no source is given any more; start the daemon with --governance URL|FILE, or with --governance off to end it',
      );
    },
  };
}
