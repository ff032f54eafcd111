// What can be set: each key with its type, what it must be, what it is without being set, and whether
// a change waits for the next start. The published schema and the list in docs/ are made from this.
import { Resolver } from 'node:dns';
import { z } from 'zod';
import { GOVERNANCE_TEAMS_MAX, LOG_ROWS_MAX, WORKERS_MAX } from '../../base/limits.ts';
import { KEY_PLACES } from '../../credentials/key-store.ts';
import { PRESET_NAMES } from '../../policy/presets.ts';
import { LOG_LEVELS } from '../api/services.ts';
import { AUDIT_DEFAULTS, AUDIT_FORMATS, AUDIT_MODES } from '../audit/settings.ts';
import { apiListen } from '../configuration.ts';
import { checkSandboxName, parseListen } from '../sandboxes.ts';
import {
  checkAbsolute,
  checkApprovalWait,
  checkAuditSize,
  checkAuthority,
  checkClientCertificate,
  checkDuration,
  checked,
  checkGovernanceInterval,
  checkGovernanceSource,
  checkKeep,
  checkResource,
  checkSigningKey,
  listOf,
  orEmpty,
} from './checks.ts';

type Setting<T> = {
  readonly type: 'bool' | 'int' | 'string' | 'json';
  readonly schema: z.ZodType<T>;
  /** Without being set. */
  readonly fallback: NoInfer<T>;
  /** The option of `daemon start` that wins over it. */
  readonly option: string;
  /** Commas stand inside the elements of the list: a text that is no JSON is one of them. */
  readonly hasCommas?: true;
  /** Names files: what people type is taken from their folder. */
  readonly isPath?: true;
  readonly description: string;
};

function setting<T>(definition: Setting<T>): Setting<T> {
  return definition;
}

const BROWSER_WORDS_MAX = 32; // More of them belong into a script.
const WORKERS = `write a whole number from 0 to ${WORKERS_MAX}`;

export const SETTINGS = {
  'audit.format': setting({
    type: 'string',
    schema: z.enum(AUDIT_FORMATS),
    fallback: AUDIT_DEFAULTS.format,
    option: '--audit-format',
    description: 'How records of the audit are written: sallyport, ocsf (OCSF 1.3), or sbx.',
  }),
  'audit.key': setting({
    type: 'string',
    schema: orEmpty(checkSigningKey),
    fallback: '',
    option: '--audit-key',
    isPath: true,
    description:
      'Absolute path of an Ed25519 private key, PEM, that signs checkpoints of the audit; empty: none does.',
  }),
  'audit.keepAge': setting({
    type: 'string',
    schema: checked(z.string(), checkKeep),
    fallback: '90d',
    option: '--audit-keep-age',
    description: 'How long records of the audit are kept, such as 30d, or forever.',
  }),
  'audit.keepSize': setting({
    type: 'string',
    schema: checked(z.string(), checkAuditSize),
    fallback: '2GiB',
    option: '--audit-keep-size',
    description: 'How large the audit may become, at least 200MiB; the oldest files go first.',
  }),
  'audit.mode': setting({
    type: 'string',
    schema: z.enum(AUDIT_MODES),
    fallback: AUDIT_DEFAULTS.mode,
    option: '--audit',
    description:
      'While records cannot be written: required refuses requests; best-effort lets them pass, and counts what is lost.',
  }),
  'daemon.listen': setting({
    type: 'string',
    schema: checked(z.string(), (text) => parseListen(text, 0)),
    fallback: '127.0.0.1:3128',
    option: '--listen',
    description: 'HOST:PORT where the proxy listens; port 0 for any.',
  }),
  'daemon.workers': setting({
    type: 'int',
    schema: z.int(WORKERS).min(0, WORKERS).max(WORKERS_MAX, WORKERS),
    fallback: 0,
    option: '--workers',
    description: 'Worker threads; 0 for as many as there are cores.',
  }),
  'daemon.defaultSandbox': setting({
    type: 'string',
    schema: orEmpty(checkSandboxName),
    fallback: '',
    option: '--default-sandbox',
    description: 'The sandbox that unauthenticated loopback clients are taken for; empty: none.',
  }),
  'daemon.drainTimeout': setting({
    type: 'string',
    schema: checked(z.string(), checkDuration),
    fallback: '30s',
    option: '--drain-timeout',
    description: 'How long a stop waits for what runs, such as 500ms, 30s or 2m.',
  }),
  'daemon.logLevel': setting({
    type: 'string',
    schema: z.enum(LOG_LEVELS),
    fallback: 'info',
    option: '--log-level',
    description: 'How much the daemon and its workers log.',
  }),
  'daemon.apiListen': setting({
    type: 'string',
    schema: orEmpty(apiListen),
    fallback: '',
    option: '--api-listen',
    description: 'HOST:PORT of the control API over TCP; needs daemon.apiTokenFile; empty: none.',
  }),
  'daemon.apiTokenFile': setting({
    type: 'string',
    schema: orEmpty(checkAbsolute),
    fallback: '',
    option: '--api-token-file',
    isPath: true,
    description: 'Absolute path of the file with the bearer token of that API.',
  }),
  'browser.command': setting({
    type: 'json',
    schema: z.array(z.string().min(1)).max(BROWSER_WORDS_MAX),
    fallback: [],
    option: '',
    description:
      'Program, and its first arguments, that opens a page on this machine for a sandbox; the URL is the last one. Empty: none.',
  }),
  'governance.source': setting({
    type: 'string',
    schema: orEmpty(checkGovernanceSource),
    fallback: '',
    option: '--governance',
    description:
      'Whose policies hold: https://HOST/.../orgs/NAME, absolute path of a signed file or folder, or off; empty: as before.',
  }),
  'governance.tokenFile': setting({
    type: 'string',
    schema: orEmpty(checkAbsolute),
    fallback: '',
    option: '--governance-token-file',
    isPath: true,
    description: 'Absolute path of the file with the bearer token for it, read each time.',
  }),
  'governance.tokenCommand': setting({
    type: 'string',
    schema: z.string(),
    fallback: '',
    option: '--governance-token-command',
    description: 'Command that prints that token.',
  }),
  'governance.keys': setting({
    type: 'json',
    schema: listOf(checkAbsolute),
    fallback: [],
    option: '--governance-key',
    isPath: true,
    description: 'Absolute paths of public keys, PEM, that may sign the file.',
  }),
  'governance.teams': setting({
    type: 'json',
    schema: z.array(z.string().min(1)).max(GOVERNANCE_TEAMS_MAX),
    fallback: [],
    option: '--governance-team',
    description: 'Teams that this machine is of.',
  }),
  'governance.interval': setting({
    type: 'string',
    schema: checked(z.string(), checkGovernanceInterval),
    fallback: '60s',
    option: '--governance-interval',
    description: 'How often to ask, from 1s to 1h.',
  }),
  'governance.grace': setting({
    type: 'string',
    schema: checked(z.string(), checkDuration),
    fallback: '24h',
    option: '--governance-grace',
    description: 'How long what was granted holds when it cannot be asked, at most 24h.',
  }),
  'log.keepAge': setting({
    type: 'string',
    schema: checked(z.string(), checkKeep),
    fallback: '30d',
    option: '',
    description: `How long rows of policy log are kept that are not seen again, such as 7d, or forever; ${LOG_ROWS_MAX} rows at most.`,
  }),
  'network.addressGuard': setting({
    type: 'string',
    schema: z.enum(['strict', 'docker']),
    fallback: 'strict',
    option: '--address-guard',
    description: 'strict: private addresses have to be named by a rule. docker: as loose as sbx.',
  }),
  'network.bypass': setting({
    type: 'json',
    schema: listOf(checkResource),
    fallback: [],
    option: '--bypass',
    description: 'Hosts that are never intercepted, in the grammar of rules.',
  }),
  'network.clientCertificates': setting({
    type: 'json',
    schema: listOf(checkClientCertificate),
    fallback: [],
    option: '--client-cert',
    hasCommas: true,
    description:
      'Certificates for destinations that ask: HOST=CERT,KEY, absolute paths of PEM files.',
  }),
  'network.deny': setting({
    type: 'string',
    schema: z.enum(['connect', 'inside']),
    fallback: 'connect',
    option: '--deny',
    description: 'Where a refused CONNECT is told: by its status, or inside TLS.',
  }),
  'network.dnsServers': setting({
    type: 'json',
    schema: listOf((one) => new Resolver().setServers([one])),
    fallback: [],
    option: '--dns-server',
    description: 'Name servers, IP or IP:PORT, asked in place of the resolver of the system.',
  }),
  'network.forwardedFor': setting({
    type: 'bool',
    schema: z.boolean('write true or false'),
    fallback: false,
    option: '--forwarded-for',
    description: 'Add an X-Forwarded-For field to requests.',
  }),
  'network.upstreamCa': setting({
    type: 'json',
    schema: listOf(checkAuthority),
    fallback: [],
    option: '--upstream-ca',
    isPath: true,
    description:
      'Absolute paths of PEM files: authorities of destinations, beside those of the system.',
  }),
  'network.via': setting({
    type: 'bool',
    schema: z.boolean('write true or false'),
    fallback: false,
    option: '--via',
    description: 'Add a Via field to requests.',
  }),
  'policy.approvals': setting({
    type: 'string',
    schema: z.enum(['off', 'ask', 'wait']),
    fallback: 'off',
    option: '--approvals',
    description:
      'What no rule covers: off: refused. ask: refused, and a person is asked, as in the newest sbx. wait: held meanwhile.',
  }),
  'policy.approvalWait': setting({
    type: 'string',
    schema: checked(z.string(), checkApprovalWait),
    fallback: '60s',
    option: '--approval-wait',
    description: 'How long a request is held until somebody answers, from 1s to 5m.',
  }),
  'policy.conflicts': setting({
    type: 'string',
    schema: z.enum(['store', 'refuse']),
    fallback: 'store',
    option: '',
    description:
      'An allow and a deny for the same resource in one scope: store both and deny wins, or refuse the later one, as sbx does.',
  }),
  'policy.defaults': setting({
    type: 'string',
    schema: z.enum(['fixed', 'removable']),
    fallback: 'fixed',
    option: '',
    description: 'Whether the rules of a preset can be removed, as in the newest sbx.',
  }),
  'policy.kitAllows': setting({
    type: 'string',
    schema: z.enum(['active', 'inactive']),
    fallback: 'active',
    option: '',
    description:
      'Whether kits may grant anything, as in sbx even under deny-all; what they deny stays denied.',
  }),
  'policy.localDenies': setting({
    type: 'string',
    schema: z.enum(['inactive', 'active']),
    fallback: 'inactive',
    option: '',
    description:
      'Under an organization: whether local and kit denies stay active, as in the newest sbx.',
  }),
  'policy.preset': setting({
    type: 'string',
    schema: z.enum(['', ...PRESET_NAMES]),
    fallback: '',
    option: '--policy',
    description: 'The policy to begin with where none was chosen; empty: ask.',
  }),
  'secrets.keyStore': setting({
    type: 'string',
    schema: z.enum(KEY_PLACES),
    fallback: 'auto',
    option: '--key-store',
    description: 'Where the key that seals secrets is to be; it moves there.',
  }),
} as const;

export type SettingKey = keyof typeof SETTINGS;
type ValueOf<S> = S extends Setting<infer T> ? T : never;
export type SettingValues = { readonly [K in SettingKey]: ValueOf<(typeof SETTINGS)[K]> };
/** Some of them, as a file, the environment or options give them. */
export type GivenValues = Partial<SettingValues>;

export const SETTING_KEYS = Object.keys(SETTINGS) as readonly SettingKey[];

/** Keys whose change holds at once; the others wait for the next start. */
export const LIVE_KEYS = [
  'daemon.defaultSandbox',
  'daemon.drainTimeout',
  'daemon.logLevel',
  'browser.command',
  'network.addressGuard',
  'network.bypass',
  'network.deny',
  'network.forwardedFor',
  'network.via',
  'policy.approvals',
  'policy.approvalWait',
  'policy.conflicts',
  'policy.defaults',
  'policy.kitAllows',
  'policy.localDenies',
] as const satisfies readonly SettingKey[];
export type LiveKey = (typeof LIVE_KEYS)[number];

export function isLive(key: SettingKey): key is LiveKey {
  return LIVE_KEYS.some((live) => live === key);
}

/** `daemon.logLevel` is SALLYPORT_DAEMON_LOG_LEVEL. */
export function variableOf(key: SettingKey): string {
  const words = key.replaceAll('.', '_').replace(/[A-Z]/g, (capital) => `_${capital}`);
  return `SALLYPORT_${words.toUpperCase()}`;
}

/**
 * A value as people write it in a command or a variable.
 *
 * @returns what the schema is to judge: a list is JSON or a comma list, and what is no number or
 *   truth value stays a text.
 */
export function readValue(key: SettingKey, text: string): unknown {
  const { type, hasCommas } = SETTINGS[key] as Setting<unknown>;
  if (type === 'bool') return text === 'true' || text === 'false' ? text === 'true' : text;
  if (type === 'int') return /^\d{1,9}$/.test(text) ? Number(text) : text;
  if (type === 'string') return text;
  if (!/^\s*\[\s*("|\])/.test(text)) {
    return hasCommas ? [text] : text.split(',').map((one) => one.trim());
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
