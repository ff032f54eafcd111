// What an instance is given by the process that it runs in.
import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import type { Keychain } from '../credentials/keychain.ts';
import type { Paths } from './paths.ts';
import type { Settings } from './settings/settings.ts';

export type Surroundings = {
  readonly paths: Paths;
  /** What the options of the instance were made from. */
  readonly settings: Settings;
  readonly keychain: Keychain;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The log file, null for stdout. */
  readonly logFile: string | null;
  readonly pid: number;
  /** Whether threads can share a port (SO_REUSEPORT). */
  readonly reusePort: boolean;
  /** Asked for over the API. */
  readonly onStop: (drainTimeoutMs: number | null) => void;
};

/** An error for the daemon's own log. */
export function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
