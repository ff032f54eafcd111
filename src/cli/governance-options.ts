// The options of `daemon start` that say who governs it. What they may be is in control/settings/keys.ts.
import type { Command } from 'commander';
import { durationText, eachOf } from './values.ts';

export function withGovernanceOptions(command: Command): Command {
  return command
    .option(
      '--governance <url|file|off>',
      "whose policies hold here: https://HOST/.../orgs/NAME, a signed file or folder, or nobody's",
    )
    .option('--governance-token-file <file>', 'file with the bearer token for it, read each time')
    .option('--governance-token-command <command>', 'command that prints that token')
    .option(
      '--governance-key <file>',
      'public key, PEM, that may sign the file (repeatable)',
      eachOf,
    )
    .option('--governance-team <id>', 'a team that this machine is of (repeatable)', eachOf)
    .option('--governance-interval <duration>', 'how often to ask (default 60s)', durationText)
    .option(
      '--governance-grace <duration>',
      'how long what was granted holds when it cannot be asked (default 24h)',
      durationText,
    );
}

/** As commander names them, and the settings that they are. */
export const GOVERNANCE_SETTINGS = {
  governance: 'governance.source',
  governanceTokenFile: 'governance.tokenFile',
  governanceTokenCommand: 'governance.tokenCommand',
  governanceKey: 'governance.keys',
  governanceTeam: 'governance.teams',
  governanceInterval: 'governance.interval',
  governanceGrace: 'governance.grace',
} as const;
