// Settings of Anthropic's sandbox-runtime (srt): which domains a command may reach. Its `*.example.com` is
// any number of labels, and a denied domain is denied whatever allows it.
import type { DocumentRule } from './document.ts';
import {
  type Imported,
  importedDocument,
  importedName,
  importedResources,
  importedRule,
  type Loss,
} from './import.ts';
import { type KeyPath, YamlText } from './yaml.ts';

/** @throws SALLYPORT_POLICY_INVALID for what are no such settings */
export function importSrt(text: string, name: string): Imported {
  const yaml = new YamlText(text, name);
  const losses: Loss[] = [];
  const network = objectAt(yaml, ['network']);
  if (network === null) {
    yaml.fault(yaml.placeOf([]), 'there is no network in it, so these are no settings of srt');
    yaml.throwFaults();
  }
  const rules = (['allow', 'deny'] as const).flatMap((decision) => {
    const path = ['network', decision === 'allow' ? 'allowedDomains' : 'deniedDomains'];
    return domainsAt(yaml, path).flatMap((domain, i) => {
      const at = yaml.placeOf([...path, i]);
      return ruleOf(decision, domain, at, losses);
    });
  });
  yaml.throwFaults();
  for (const [path, key] of otherKeys(yaml, network)) {
    const why = WHY[key] ?? 'it says nothing of which hosts may be reached';
    losses.push({ effect: 'left-out', at: yaml.placeOfKey(path, key), what: key, why });
  }
  return { document: importedDocument(rules), losses };
}

const WHY: Readonly<Record<string, string>> = {
  filesystem: 'rules for files are of mounts here, not of what a process may open',
  allowUnixSockets: 'unix sockets do not pass through a proxy',
  allowAllUnixSockets: 'unix sockets do not pass through a proxy',
  allowLocalBinding: 'what a sandbox listens on does not pass through a proxy',
  mitmProxy: 'hosts are intercepted where a secret or an HTTP rule is bound to them',
  tlsTerminate: 'hosts are intercepted where a secret or an HTTP rule is bound to them',
  credentials: 'secrets are set with `secret set` and `secret set-custom`',
};

function ruleOf(
  decision: 'allow' | 'deny',
  domain: string,
  at: string,
  losses: Loss[],
): DocumentRule[] {
  const found = resourcesOf(decision, domain);
  if (typeof found !== 'string') return [importedRule(decision, found, at)];
  if (decision === 'deny') {
    // Less would be denied than there: then nothing may be allowed either.
    losses.push({ effect: 'narrower', at, what: domain, why: `${found}; so everything is denied` });
    return [importedRule('deny', ['**'], at)];
  }
  losses.push({ effect: 'left-out', at, what: domain, why: found });
  return [];
}

/** Addresses stand in brackets, with or without a port; only what is denied may be everything. */
function resourcesOf(decision: 'allow' | 'deny', domain: string): readonly string[] | string {
  const [, address, port] = /^\[([^\]]+)\](:\d+)?$/.exec(domain) ?? [];
  const everything = decision === 'deny' ? /^\*(:\d+)?$/.exec(domain) : null;
  if (address === undefined && everything === null) return importedName(decision, domain);
  const wanted =
    everything === null
      ? port === undefined
        ? `${address}/128`
        : `[${address}]${port}`
      : `**${everything[1] ?? ''}`;
  const found = importedResources(decision, wanted);
  return typeof found === 'string' ? found : found.map(({ text }) => text);
}

function domainsAt(yaml: YamlText, path: KeyPath): readonly string[] {
  const list = path.reduce<unknown>((value, step) => (value as never)?.[step], yaml.value);
  if (list === undefined) return [];
  if (Array.isArray(list) && list.every((one) => typeof one === 'string')) return list;
  yaml.fault(yaml.placeOf(path), 'it must be a list of texts');
  return [];
}

function objectAt(yaml: YamlText, path: KeyPath): Readonly<Record<string, unknown>> | null {
  const value = path.reduce<unknown>((one, step) => (one as never)?.[step], yaml.value);
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : null;
}

function otherKeys(
  yaml: YamlText,
  network: Readonly<Record<string, unknown>> | null,
): [path: KeyPath, key: string][] {
  const top = Object.keys(objectAt(yaml, []) ?? {}).filter((key) => key !== 'network');
  const own = Object.keys(network ?? {}).filter((key) => !/^(?:allowed|denied)Domains$/.test(key));
  return [
    ...top.map((key): [KeyPath, string] => [[], key]),
    ...own.map((key): [KeyPath, string] => [['network'], key]),
  ];
}
