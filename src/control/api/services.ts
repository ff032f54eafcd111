// What the routes of the control API work with; daemon.ts builds one, tests build their own.
import type { KeyStatus } from '../../credentials/key-store.ts';
import type { Matcher } from '../../policy/decision.ts';
import type { AddressGuard } from '../../policy/judge.ts';
import type { Listen } from '../../workers/messages.ts';
import type { Followers } from '../audit/follow.ts';
import type { DecisionLog } from '../audit/log.ts';
import type { AuditMode } from '../audit/settings.ts';
import type { Authority } from '../authority.ts';
import type { Browser } from '../browser.ts';
import type { GovernanceFacts } from '../governance/status.ts';
import type { Approvals } from '../policy/approvals.ts';
import type { InterceptionFacts } from '../policy/check.ts';
import type { Mounts } from '../policy/mounts.ts';
import type { PolicyService } from '../policy/policy.ts';
import type { Sandboxes } from '../sandboxes.ts';
import type { Secrets } from '../secrets/secrets.ts';
import type { LiveSettings } from '../settings/live.ts';
import type { TrustFiles } from '../trust.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** `general` is the daemon's own level, `proxy` that of the workers. */
export type LogLevels = { readonly general: LogLevel; readonly proxy: LogLevel };

export type DaemonStatus = {
  readonly pid: number;
  readonly socket: string;
  /** HOST:PORT of the shared proxy listener. */
  readonly listen: string;
  /** How many there are. */
  readonly workers: number;
  /** How many have died and were replaced since the start. */
  readonly restarts: number;
  readonly generation: number;
  readonly rules: number;
  readonly sandboxes: number;
  readonly preset: string | null;
  readonly uptime_ms: number;
  readonly version: string;
  readonly log: string | null;
  readonly audit: string;
  readonly audit_mode: AuditMode;
  /** What is on the disk, and how much of it may be; null: for ever. */
  readonly audit_bytes: number;
  readonly audit_keep_bytes: number;
  readonly audit_keep_ms: number | null;
  /** How long rows of `policy log` are kept, and how many; null: for ever. */
  readonly log_keep_ms: number | null;
  readonly log_rows_max: number;
  /** Why it cannot be written at present. */
  readonly audit_problem: string | null;
  /** Records that are missing, and exchanges refused for want of one, since the start. */
  readonly audit_lost: number;
  readonly audit_refused: number;
  /** Where the key of the secrets is; null until the first secret. */
  readonly key_place: KeyStatus['place'];
  /** The file with the key, or with where that is. */
  readonly key_file: string;
  /** Why it cannot be had, and what to do. */
  readonly key_problem: string | null;
};

export type Services = {
  readonly policy: PolicyService;
  readonly mounts: Mounts;
  readonly approvals: Approvals;
  readonly browser: Browser;
  readonly sandboxes: Sandboxes;
  readonly secrets: Secrets;
  readonly authority: Authority;
  readonly trust: TrustFiles;
  readonly settings: LiveSettings;
  /** Whom unauthenticated loopback clients are taken for. */
  readonly defaultSandbox: string | null;
  /** What the sandbox of this number holds in place of secrets, by variable. */
  readonly variablesOf: (number: number) => Readonly<Record<string, string>>;
  /** The daemon's own lane. */
  readonly matcher: Matcher;
  readonly addressGuard: AddressGuard;
  /** Who governs, and how well its policies are known. */
  readonly governance: () => GovernanceFacts;
  /** Asks now; nothing to do where nobody governs. @throws SALLYPORT_GOVERNANCE_FAILED */
  readonly refreshGovernance: () => Promise<void>;
  /** Resources that are never intercepted. */
  readonly bypass: readonly string[];
  readonly interception: InterceptionFacts;
  readonly log: DecisionLog;
  readonly followers: Followers;
  /** The shared proxy listener, with the port in use. */
  readonly shared: () => Listen;
  readonly status: () => DaemonStatus;
  readonly logLevels: () => LogLevels;
  readonly setLogLevels: (levels: LogLevels) => Promise<void>;
  /** Drains and ends the daemon; does not wait for it. */
  readonly stop: (drainTimeoutMs: number | null) => void;
  readonly report: (error: unknown) => void;
};
