// The options of `daemon start` that say who governs it.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { SallyportError } from '../base/errors.ts';
import {
  GOVERNANCE_GRACE_MS,
  GOVERNANCE_INTERVAL_MS,
  GOVERNANCE_INTERVAL_MS_MAX,
  GOVERNANCE_INTERVAL_MS_MIN,
  GOVERNANCE_TEAMS_MAX,
} from '../base/limits.ts';
import type { GovernanceOptions } from '../control/governance.ts';
import { duration, eachOf } from './values.ts';

export type GovernanceFlags = {
  readonly governance?: string;
  readonly governanceTokenFile?: string;
  readonly governanceTokenCommand?: string;
  readonly governanceKey?: string[];
  readonly governanceTeam?: string[];
  readonly governanceInterval?: number;
  readonly governanceGrace?: number;
};

export function withGovernanceOptions(command: Command): Command {
  return command
    .option(
      '--governance <url|file|off>',
      "whose policies hold here: https://HOST/.../orgs/NAME, a signed file or folder, or nobody's",
      sourceText,
    )
    .option('--governance-token-file <file>', 'file with the bearer token for it, read each time')
    .option('--governance-token-command <command>', 'command that prints that token')
    .option(
      '--governance-key <file>',
      'public key, PEM, that may sign the file (repeatable)',
      eachOf,
    )
    .option('--governance-team <id>', 'a team that this machine is of (repeatable)', eachOf)
    .option('--governance-interval <duration>', 'how often to ask (default 60s)', interval)
    .option(
      '--governance-grace <duration>',
      'how long what was granted holds when it cannot be asked (default 24h)',
      duration,
    );
}

/** @returns undefined when nothing is said of it. @throws SALLYPORT_USAGE */
export function governanceOf(flags: GovernanceFlags): GovernanceOptions | 'off' | undefined {
  const { governance: source, governanceKey: keys = [], governanceTeam: teams = [] } = flags;
  if (source === 'off') return source; // Whatever else is remembered of the last start.
  if (source === undefined) {
    const given = Object.keys(flags).some((name) => /^governance[A-Z]/.test(name));
    if (given) throw usage('options of governance need --governance URL or FILE');
    return undefined;
  }
  if (teams.length > GOVERNANCE_TEAMS_MAX) throw usage(`at most ${GOVERNANCE_TEAMS_MAX} teams`);
  return {
    source,
    keys: keys.map(keyIn),
    teams,
    tokenFile: flags.governanceTokenFile && resolve(flags.governanceTokenFile),
    tokenCommand: flags.governanceTokenCommand,
    intervalMs: flags.governanceInterval ?? GOVERNANCE_INTERVAL_MS,
    graceMs: flags.governanceGrace ?? GOVERNANCE_GRACE_MS,
  };
}

/** A path as the daemon understands it, which has another folder. */
function sourceText(text: string): string {
  return text === 'off' || text.includes('://') ? text : resolve(text);
}

/** @throws InvalidArgumentError */
function interval(text: string): number {
  const ms = duration(text);
  if (ms >= GOVERNANCE_INTERVAL_MS_MIN && ms <= GOVERNANCE_INTERVAL_MS_MAX) return ms;
  throw new InvalidArgumentError('From 1s to 1h.');
}

/** What it is worth, the daemon says. @throws SALLYPORT_USAGE */
function keyIn(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw usage(`--governance-key ${file} cannot be read`, cause);
  }
}

function usage(message: string, cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message, { cause });
}
