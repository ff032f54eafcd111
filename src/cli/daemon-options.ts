// The options of `daemon start`: each is a setting, given for this start and those that follow it on
// demand. What they may be is in control/settings/keys.ts.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { LOG_LEVELS } from '../control/api/services.ts';
import { splitClientCertificate } from '../control/client-certificates.ts';
import { type GivenValues, SETTINGS, type SettingKey } from '../control/settings/keys.ts';
import { KEY_PLACES } from '../credentials/key-store.ts';
import { PRESET_NAMES } from '../policy/presets.ts';
import { AUDIT_SETTINGS, withAuditOptions } from './audit-options.ts';
import { GOVERNANCE_SETTINGS, withGovernanceOptions } from './governance-options.ts';
import { APPROVAL_SETTINGS, withApprovalOptions } from './policy-approval.ts';
import type { StartOption } from './start-options.ts';
import { durationText, eachElementOf, eachOf, workerCount } from './values.ts';

/** As commander names them. */
const OPTIONS = {
  policy: 'policy.preset',
  listen: 'daemon.listen',
  workers: 'daemon.workers',
  defaultSandbox: 'daemon.defaultSandbox',
  drainTimeout: 'daemon.drainTimeout',
  addressGuard: 'network.addressGuard',
  via: 'network.via',
  forwardedFor: 'network.forwardedFor',
  dnsServer: 'network.dnsServers',
  deny: 'network.deny',
  bypass: 'network.bypass',
  upstreamCa: 'network.upstreamCa',
  keyStore: 'secrets.keyStore',
  clientCert: 'network.clientCertificates',
  logLevel: 'daemon.logLevel',
  ...GOVERNANCE_SETTINGS,
  ...AUDIT_SETTINGS,
  ...APPROVAL_SETTINGS,
  apiListen: 'daemon.apiListen',
  apiTokenFile: 'daemon.apiTokenFile',
} as const satisfies Record<string, SettingKey>;

type OptionName = keyof typeof OPTIONS;

export type StartOptions = {
  readonly detach?: boolean;
  readonly logToFile?: boolean;
} & { readonly [name in OptionName]?: unknown };

export function withStartOptions(command: Command): Command {
  return withApprovalOptions(withAuditOptions(withGovernanceOptions(command)))
    .option('-d, --detach', 'in the background; returns when the port accepts')
    .addOption(new Option('--log-to-file').hideHelp())
    .addOption(
      new Option('--policy <preset>', 'choose this policy if none was chosen').choices([
        ...PRESET_NAMES,
      ]),
    )
    .option(
      '--listen <host:port>',
      'where the proxy listens (default 127.0.0.1:3128; port 0 for any)',
    )
    .option('--workers <n>', 'worker threads (default: the number of cores)', workerCount)
    .option('--default-sandbox <name>', 'take unauthenticated loopback clients for this sandbox')
    .option(
      '--drain-timeout <duration>',
      'how long a stop waits for what runs, such as 30s',
      durationText,
    )
    .addOption(
      new Option('--address-guard <guard>', 'strict, or as loose as sbx').choices([
        'strict',
        'docker',
      ]),
    )
    .option('--via', 'add a Via field')
    .option('--forwarded-for', 'add an X-Forwarded-For field')
    .option('--dns-server <ip[:port]>', 'ask this name server (repeatable)', eachOf)
    .addOption(
      new Option(
        '--deny <where>',
        'tell a refused CONNECT by its status, or inside TLS to sandboxes that trust the CA',
      ).choices(['connect', 'inside']),
    )
    .option(
      '--bypass <resource>',
      'never intercept this host: it pins certificates, say (repeatable)',
      eachElementOf,
    )
    .option(
      '--upstream-ca <file>',
      'trust this authority, PEM, for destinations too (repeatable)',
      eachOf,
    )
    .addOption(
      new Option(
        '--key-store <where>',
        'where the key that seals secrets is to be; it moves there',
      ).choices([...KEY_PLACES]),
    )
    .option(
      '--client-cert <host=cert,key>',
      'present this certificate, PEM files, to this host (repeatable)',
      eachOf,
    )
    .addOption(new Option('--log-level <level>', 'how much to log').choices([...LOG_LEVELS]))
    .option('--api-listen <host:port>', 'the control API over TCP too; needs --api-token-file')
    .option('--api-token-file <file>', 'file with the bearer token for it');
}

const OWN_OPTIONS: ReadonlySet<string> = new Set(['detach', 'logToFile', 'input', 'debug']);

/** The options of a start as given, in a form that a process in another folder understands. */
export function givenOptions(command: Command): StartOption[] {
  return command.options.flatMap((option): StartOption[] => {
    const name = option.attributeName();
    const value: unknown = command.getOptionValue(name);
    const long = option.long ?? '';
    if (value === undefined || OWN_OPTIONS.has(name)) return [];
    if (value === true) return [[long]];
    const absolute = absoluteOf(OPTIONS[name as OptionName], value);
    const all = Array.isArray(absolute) ? absolute : [absolute];
    return all.map((one): StartOption => [long, String(one)]);
  });
}

/** The same as settings; they are judged where all settings are. */
export function givenSettings(options: StartOptions): GivenValues {
  const given: Record<string, unknown> = {};
  for (const [name, key] of Object.entries(OPTIONS)) {
    const value = options[name as OptionName];
    if (value !== undefined) given[key] = absoluteOf(key, value);
  }
  return given as GivenValues;
}

/** What options that were written down come to. */
export function rememberedSettings(options: readonly StartOption[]): GivenValues {
  const command = withStartOptions(new Command()).exitOverride();
  const words = options.flatMap(([flag, value]) => (value === undefined ? [flag] : [flag, value]));
  command.parse(words, { from: 'user' });
  return givenSettings(command.opts());
}

/** The daemon has another folder. */
export function absoluteOf(key: SettingKey, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => absoluteOf(key, one));
  if (key === 'network.clientCertificates') {
    const { host, files } = splitClientCertificate(String(value));
    return files.length === 0 ? value : `${host}=${files.map((file) => resolve(file))}`;
  }
  if (key === 'governance.source') {
    const text = String(value);
    return text === '' || text === 'off' || text.includes('://') ? text : resolve(text);
  }
  return 'isPath' in SETTINGS[key] && value !== '' ? resolve(String(value)) : value;
}
