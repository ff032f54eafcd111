// What settings do: all of them at a start, some of them while it runs.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseDuration, parseKeep } from '../../base/duration.ts';
import {
  AUDIT_KEEP_BYTES,
  AUDIT_KEEP_MS,
  GOVERNANCE_GRACE_MS,
  GOVERNANCE_INTERVAL_MS,
  LOG_KEEP_MS,
  WORKERS_MAX,
} from '../../base/limits.ts';
import { parseSize } from '../../base/size.ts';
import { parseResources } from '../../policy/resource.ts';
import type { LogLevels } from '../api/services.ts';
import type { AuditSettings } from '../audit/settings.ts';
import { readClientCertificates } from '../client-certificates.ts';
import type { Configuration } from '../configuration.ts';
import type { InstanceOptions } from '../instance.ts';
import type { PolicyService } from '../policy/policy.ts';
import type { Sandboxes } from '../sandboxes.ts';
import { secretIn } from './checks.ts';
import { invalid } from './file.ts';
import type { LiveKey, SettingValues } from './keys.ts';

/** Puts one value in force, but for the workers: they are configured once, after all of them. */
export type Effects = {
  readonly [K in LiveKey]: (value: SettingValues[K]) => void | Promise<void>;
};

type Affected = {
  readonly configuration: Configuration;
  readonly policy: Pick<PolicyService, 'setSemantics'>;
  readonly sandboxes: Pick<Sandboxes, 'has' | 'add'>;
  readonly setLogLevels: (levels: LogLevels) => void;
};

export type StartFacts = {
  readonly options: Omit<InstanceOptions, 'version'>;
  /** What works, but should not stay so. */
  readonly warnings: readonly string[];
};

/**
 * What an instance starts with.
 *
 * @throws SALLYPORT_SETTING_INVALID for a file that cannot be read, and for values that do not go together;
 *   SALLYPORT_USAGE for client certificates that cannot be used
 */
export function instanceOptions(values: SettingValues, nowMs: number): StartFacts {
  const workers = values['daemon.workers'] || availableParallelism();
  const bypass = normalResources(values['network.bypass']);
  const api = apiOf(values);
  const governance = governanceOf(values);
  const upstreamAuthorities = values['network.upstreamCa'].map((path) => textOf(path));
  const given = values['network.clientCertificates'];
  const { certificates, warnings } = readClientCertificates(given, bypass, nowMs);
  const options = {
    listen: values['daemon.listen'],
    workers: Math.min(workers, WORKERS_MAX),
    preset: values['policy.preset'] || undefined,
    semantics: {
      localDenies: values['policy.localDenies'],
      conflicts: values['policy.conflicts'],
      defaults: values['policy.defaults'],
      kitAllows: values['policy.kitAllows'],
    },
    keyStore: values['secrets.keyStore'],
    audit: auditOf(values),
    logKeepMs: parseKeep(values['log.keepAge']) ?? LOG_KEEP_MS,
    defaultSandbox: values['daemon.defaultSandbox'] || undefined,
    addressGuard: values['network.addressGuard'],
    via: values['network.via'],
    forwardedFor: values['network.forwardedFor'],
    dnsServers: values['network.dnsServers'],
    logLevel: values['daemon.logLevel'],
    deny: values['network.deny'],
    browserCommand: values['browser.command'],
    approvals: values['policy.approvals'],
    approvalWaitMs: parseDuration(values['policy.approvalWait']) ?? 0,
    bypass,
    upstreamAuthorities,
    clientCertificates: certificates,
    api,
    governance,
  };
  return { options, warnings };
}

function auditOf(values: SettingValues): AuditSettings {
  const file = values['audit.key'];
  return {
    mode: values['audit.mode'],
    format: values['audit.format'],
    key: file === '' ? null : secretIn(file, 'key'),
    keep: {
      bytes: parseSize(values['audit.keepSize']) ?? AUDIT_KEEP_BYTES,
      ms: parseKeep(values['audit.keepAge']) ?? AUDIT_KEEP_MS,
    },
  };
}

/** How long a stop waits for what runs, in milliseconds. */
export function drainTimeoutMs(values: SettingValues): number {
  return parseDuration(values['daemon.drainTimeout']) ?? 0;
}

export function effectsOf({ configuration, policy, sandboxes, setLogLevels }: Affected): Effects {
  return {
    'daemon.defaultSandbox': async (name) => {
      if (name !== '') await ensureSandbox(name, sandboxes);
      configuration.change({ defaultSandbox: name || undefined });
    },
    'daemon.drainTimeout': () => {}, // Read when the stop comes.
    'daemon.logLevel': (level) => setLogLevels({ general: level, proxy: level }),
    'browser.command': (browserCommand) => configuration.change({ browserCommand }),
    'network.addressGuard': (addressGuard) => configuration.change({ addressGuard }),
    'network.bypass': (bypass) => configuration.change({ bypass: normalResources(bypass) }),
    'network.deny': (deny) => configuration.change({ deny }),
    'network.forwardedFor': (forwardedFor) => configuration.change({ forwardedFor }),
    'network.via': (via) => configuration.change({ via }),
    'policy.approvals': (approvals) => configuration.change({ approvals }),
    'policy.approvalWait': (wait) =>
      configuration.change({ approvalWaitMs: parseDuration(wait) ?? 0 }),
    'policy.conflicts': (conflicts) => policy.setSemantics({ conflicts }),
    'policy.defaults': (defaults) => policy.setSemantics({ defaults }),
    'policy.kitAllows': (kitAllows) => policy.setSemantics({ kitAllows }),
    'policy.localDenies': (localDenies) => policy.setSemantics({ localDenies }),
  };
}

/** Its token is thrown away: it is recognised by coming from loopback, and by nothing else. */
export async function ensureSandbox(
  name: string,
  sandboxes: Pick<Sandboxes, 'has' | 'add'>,
): Promise<void> {
  if (!sandboxes.has(name)) await sandboxes.add({ name });
}

function apiOf(values: SettingValues): InstanceOptions['api'] {
  const { 'daemon.apiListen': listen, 'daemon.apiTokenFile': file } = values;
  if (listen === '') return undefined;
  if (file === '') throw invalid(['daemon.apiListen needs daemon.apiTokenFile']);
  return { listen, token: secretIn(file, 'token').trim() };
}

/** @returns undefined when nothing is said of it */
function governanceOf(values: SettingValues): InstanceOptions['governance'] {
  const { 'governance.source': source, 'governance.tokenFile': tokenFile } = values;
  if (source === 'off') return source; // Whatever else is said of it.
  if (source === '') return undefined;
  const tokenCommand = values['governance.tokenCommand'];
  if (source.includes('://') && (tokenFile === '') === (tokenCommand === '')) {
    throw invalid(['governance.source needs governance.tokenFile or governance.tokenCommand']);
  }
  return {
    source,
    keys: values['governance.keys'].map((path) => textOf(path)),
    teams: values['governance.teams'],
    tokenFile: tokenFile || undefined,
    tokenCommand: tokenCommand || undefined,
    intervalMs: parseDuration(values['governance.interval']) ?? GOVERNANCE_INTERVAL_MS,
    graceMs: parseDuration(values['governance.grace']) ?? GOVERNANCE_GRACE_MS,
  };
}

function normalResources(resources: readonly string[]): string[] {
  return resources.flatMap((one) => parseResources(one).map(({ text }) => text));
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw invalid([`${path} cannot be read`], cause);
  }
}
