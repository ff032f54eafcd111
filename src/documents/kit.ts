// Kit files, as far as the network is concerned: version 3 (`capabilities`), 2 (`permissions`), 1 (`network`), or
// the rules alone. What a kit says of anything else is none of ours and is named, so that nobody
// believes it holds; what it says of the network is taken whole or refused, with line and column.
import type { z } from 'zod';
import {
  faultOfKitEntry,
  KIT_PHASES,
  type Kit,
  type KitEntry,
  type KitRules,
} from '../policy/kit.ts';
import type { Decision } from '../policy/rule.ts';
import { EntryLists, type EntryListsText, HostLists, KitName, type KitText } from './kit-schema.ts';
import { type KeyPath, YamlText } from './yaml.ts';

export type KitFile = {
  readonly kit: Kit;
  /** What of the file is not put in force here. */
  readonly ignored: readonly string[];
};

type Found = { readonly phases: Partial<Record<string, KitRules>>; readonly ignored: string[] };

const NETWORK = /^com\.docker\.(?:sandbox|runtime)\/network-policy@(\d+)$/;

/**
 * Reads YAML, or JSON, which is YAML.
 *
 * @param name  of the file, for places; without its ending it is the kit's, should that have none.
 * @throws SALLYPORT_POLICY_INVALID naming every fault with its place, SALLYPORT_POLICY_TOO_LARGE
 */
export function readKit(text: string, name: string): KitFile {
  const yaml = new YamlText(text, name);
  const value = isMap(yaml.value) ? yaml.value : {};
  const { phases, ignored } = found(value, yaml);
  yaml.throwFaults();
  const given = KitName.safeParse(value.name ?? value.displayName);
  const [install = NONE, runtime = NONE] = KIT_PHASES.map((phase) => phases[phase]);
  return { kit: { name: given.data ?? stemOf(name), install, runtime }, ignored };
}

/** The rules of several kits; a deny of one is not undone by what another allows. */
export function mergeKits(kits: readonly Kit[]): Kit {
  const union = (phase: 'install' | 'runtime', decision: Decision): readonly KitEntry[] => {
    const entries = kits.flatMap((kit) => kit[phase][decision]);
    return [...new Map(entries.map((entry) => [JSON.stringify(entry), entry])).values()];
  };
  const of = (phase: 'install' | 'runtime'): KitRules => ({
    allow: union(phase, 'allow'),
    deny: union(phase, 'deny'),
  });
  const name = kits.map((kit) => kit.name).join('+');
  return { name, install: of('install'), runtime: of('runtime') };
}

/** As the control API takes it, in full. */
export function kitOf({ name, install, runtime }: KitText): Kit {
  return { name, install: rulesOf(install), runtime: rulesOf(runtime) };
}

const NO_MAP = 'it must have names with values';
const NONE: KitRules = { allow: [], deny: [] };

function rulesOf(lists: EntryListsText | undefined): KitRules {
  return { allow: lists?.allow ?? [], deny: lists?.deny ?? [] };
}

/** Where each version has its rules; a file has one of them. */
const FORMS = ['capabilities', 'permissions', 'network', 'install', 'runtime'] as const;

function found(value: Readonly<Record<string, unknown>>, yaml: YamlText): Found {
  const [form, other] = FORMS.filter((key) => key in value);
  if (other !== undefined && form !== 'install') {
    const why = `it has ${form} and ${other}: two versions of kits in one file`;
    yaml.fault(yaml.placeOfKey([], other), why);
  }
  if (form === 'capabilities') return ofCapabilities(value.capabilities, yaml);
  if (form === 'permissions') return ofPermissions(value.permissions, yaml);
  if (form === 'network') return ofDomains(value.network, yaml);
  if (form !== undefined) {
    const own = Object.entries(value).filter(([key]) => key !== 'name');
    return { phases: phasesOf(Object.fromEntries(own), [], EntryLists, yaml), ignored: [] };
  }
  if ('schemaVersion' in value || 'kind' in value) return { phases: {}, ignored: [] };
  const why = 'neither capabilities nor permissions, nor rules for install or runtime';
  yaml.fault(yaml.placeOf([]), `it is no kit: it has ${why}`);
  return { phases: {}, ignored: [] };
}

/** Version 3: a list of typed needs, of which at most one is of the network. */
function ofCapabilities(list: unknown, yaml: YamlText): Found {
  if (!Array.isArray(list)) {
    yaml.fault(yaml.placeOf(['capabilities']), 'it must be a list');
    return { phases: {}, ignored: [] };
  }
  const types = list.map((entry) => (isMap(entry) ? String(entry.type ?? '') : ''));
  const [first, second] = types.flatMap((type, index) => (NETWORK.test(type) ? [index] : []));
  if (second !== undefined) {
    yaml.fault(yaml.placeOf(['capabilities', second]), 'there is a network policy already');
  }
  const others = types.filter((type) => !NETWORK.test(type));
  const ignored = others.map((type) => (type === '' ? 'a capability without type' : type));
  if (first === undefined) return { phases: {}, ignored };
  return { phases: ofCapability(list[first], ['capabilities', first], yaml), ignored };
}

function ofCapability(entry: unknown, path: KeyPath, yaml: YamlText): Found['phases'] {
  const { type, config } = isMap(entry) ? entry : {};
  const version = NETWORK.exec(String(type))?.[1];
  const schema = version === '1' ? HostLists : EntryLists;
  if (version === '1' || version === '2')
    return phasesOf(config, [...path, 'config'], schema, yaml);
  yaml.fault(yaml.placeOf([...path, 'type']), 'this program knows network-policy@1 and @2');
  return {};
}

/** Version 2: one list for both phases. */
function ofPermissions(permissions: unknown, yaml: YamlText): Found {
  const path = ['permissions', 'network'];
  if (!isMap(permissions)) yaml.fault(yaml.placeOf(['permissions']), NO_MAP);
  const { network, ...others } = isMap(permissions) ? permissions : {};
  const lists = listsIn(network ?? {}, path, HostLists, yaml);
  const ignored = Object.keys(others).map((key) => `permissions.${key}`);
  return { phases: { install: lists, runtime: lists }, ignored };
}

/** Version 1, likewise. */
function ofDomains(network: unknown, yaml: YamlText): Found {
  if (!isMap(network)) yaml.fault(yaml.placeOf(['network']), NO_MAP);
  const { allowedDomains: allow, deniedDomains: deny, ...others } = isMap(network) ? network : {};
  const checked = HostLists.safeParse({ allow, deny });
  const names = { allow: 'allowedDomains', deny: 'deniedDomains' };
  for (const {
    path: [list, ...rest],
    message,
  } of checked.error?.issues ?? []) {
    const key = list === 'deny' ? names.deny : names.allow;
    yaml.fault(yaml.placeOf(['network', key, ...rest]), message);
  }
  const lists = rulesOf(checked.data);
  checkEntries(lists, (decision, index) => yaml.placeOf(['network', names[decision], index]), yaml);
  const ignored = Object.keys(others).map((key) => `network.${key}`);
  return { phases: { install: lists, runtime: lists }, ignored };
}

function phasesOf(
  config: unknown,
  path: KeyPath,
  schema: typeof HostLists | typeof EntryLists,
  yaml: YamlText,
): Found['phases'] {
  if (!isMap(config)) {
    yaml.fault(yaml.placeOf(path), 'it must have rules for install or runtime');
    return {};
  }
  const phases: Record<string, KitRules> = {};
  for (const [phase, lists] of Object.entries(config)) {
    const known = KIT_PHASES.some((one) => one === phase);
    if (known) phases[phase] = listsIn(lists, [...path, phase], schema, yaml);
    else yaml.fault(yaml.placeOfKey(path, phase), `there is no phase "${phase}"`);
  }
  return phases;
}

function listsIn(
  lists: unknown,
  path: KeyPath,
  schema: typeof HostLists | typeof EntryLists,
  yaml: YamlText,
): KitRules {
  const checked = schema.safeParse(lists);
  for (const issue of checked.error?.issues ?? []) addIssue(issue, path, yaml);
  const rules = rulesOf(checked.data);
  checkEntries(rules, (decision, index) => yaml.placeOf([...path, decision, index]), yaml);
  return rules;
}

function checkEntries(
  rules: KitRules,
  placeOf: (decision: Decision, index: number) => string,
  yaml: YamlText,
): void {
  for (const decision of ['allow', 'deny'] as const) {
    for (const [index, entry] of rules[decision].entries()) {
      const fault = faultOfKitEntry(decision, entry);
      if (fault !== null) yaml.fault(placeOf(decision, index), fault);
    }
  }
}

function addIssue(issue: z.core.$ZodIssue, path: KeyPath, yaml: YamlText): void {
  const at = [...path, ...issue.path];
  if (issue.code !== 'unrecognized_keys') yaml.fault(yaml.placeOf(at), issue.message);
  else
    for (const key of issue.keys) {
      yaml.fault(yaml.placeOfKey(at, key), `there is no field "${key}"`);
    }
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `/kits/docs.yaml` is docs. */
function stemOf(path: string): string {
  const file = path.split(/[/\\]/).at(-1) ?? '';
  const stem = file.replace(/\.[^.]*$/, '');
  return KitName.safeParse(stem).data ?? 'kit';
}
