// A policy file, read. It is taken whole or refused whole, with the line and column of every fault.
import type { z } from 'zod';
import { SallyportError } from '../base/errors.ts';
import { type PathPattern, parsePathPatterns } from '../policy/file-pattern.ts';
import { parseHttpMatch } from '../policy/http.ts';
import { accessesFor } from '../policy/mount.ts';
import type { PresetName, PresetRule } from '../policy/presets.ts';
import { parseResources } from '../policy/resource.ts';
import type { Decision } from '../policy/rule.ts';
import { type RuleInput, ruleFacts } from '../policy/rule-facts.ts';
import type { DocumentPathRule, DocumentRule, PolicyDocument, PresetPathRule } from './document.ts';
import { DocumentSchema, type DocumentText, RuleEntry, type RuleEntryText } from './schema.ts';
import { type KeyPath, YamlText } from './yaml.ts';

/**
 * Reads YAML, or JSON, which is YAML.
 *
 * @param name  of the file, for messages and places.
 * @throws SALLYPORT_POLICY_INVALID naming every fault with its place, SALLYPORT_POLICY_TOO_LARGE
 */
export function readDocument(text: string, name: string): PolicyDocument {
  const yaml = new YamlText(text, name);
  const { data, error } = DocumentSchema.safeParse(yaml.value);
  for (const issue of error?.issues ?? []) addIssue(yaml, issue);
  // Rules that have the form are read even then: all faults are told at once.
  const taken = data ?? salvaged(yaml.value);
  const rules = rulesOf(taken, yaml);
  const presetRules = data === undefined ? null : presetRulesOf(data, yaml);
  checkNeeds(data, yaml);
  const filesystem = data === undefined ? null : pathRulesOf(data, yaml);
  const presetFilesystem = data === undefined ? null : presetPathsOf(data, yaml);
  checkIds(rules, yaml);
  yaml.throwFaults();
  return {
    preset: (data?.preset as PresetName | undefined) ?? null,
    presetRules,
    rules,
    filesystem,
    presetFilesystem,
    sandboxes: Object.keys(taken.sandboxes ?? {}).map((name) => ({
      name,
      at: yaml.placeOfKey(['sandboxes'], name),
    })),
  };
}

/** What means nothing alone. */
function checkNeeds(data: DocumentText | undefined, yaml: YamlText): void {
  const needs = [
    ['preset_rules', 'preset'],
    ['preset_filesystem', 'preset'],
    ['preset_filesystem', 'filesystem'],
  ] as const;
  for (const [key, need] of needs) {
    if (data?.[key] === undefined || data[need] !== undefined) continue;
    yaml.fault(yaml.placeOfKey([], key), `it needs ${need} beside it`);
  }
}

/** The lists of a document, with holes for what is no rule. */
type Lists = {
  readonly rules?: readonly (RuleEntryText | null)[] | undefined;
  readonly sandboxes?: Readonly<Record<string, readonly (RuleEntryText | null)[]>> | undefined;
};

function salvaged(value: unknown): Lists {
  const { rules, sandboxes } = isObject(value) ? value : {};
  const named = isObject(sandboxes) ? Object.entries(sandboxes) : [];
  return {
    rules: entriesOf(rules),
    sandboxes: Object.fromEntries(named.map(([name, list]) => [name, entriesOf(list)])),
  };
}

function entriesOf(list: unknown): (RuleEntryText | null)[] {
  if (!Array.isArray(list)) return [];
  return list.map((entry) => RuleEntry.safeParse(entry).data ?? null);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function addIssue(yaml: YamlText, issue: z.core.$ZodIssue): void {
  const name = nameOf(issue.path);
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) {
      yaml.fault(yaml.placeOfKey(issue.path, key), `${name}there is no field "${key}"`);
    }
  } else if (issue.code === 'invalid_key') {
    const [parent, key] = [issue.path.slice(0, -1), String(issue.path.at(-1))];
    const why = issue.issues[0]?.message ?? issue.message;
    yaml.fault(yaml.placeOfKey(parent, key), `${name}${why}`);
  } else {
    yaml.fault(yaml.placeOf(issue.path), `${name}${issue.message}`);
  }
}

/** `rules[3].allow: `, as people point at it. */
function nameOf(path: KeyPath): string {
  const text = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`));
  return text.length === 0 ? '' : `${text.join('').replace(/^\./, '')}: `;
}

function presetRulesOf({ preset_rules: given }: DocumentText, yaml: YamlText): PresetRule[] | null {
  if (given === undefined) return null;
  return Object.entries(given).flatMap(([id, allow]) => {
    const rule = factsOf({ allow }, ['preset_rules', id], yaml);
    return rule === null ? [] : [{ id, decision: rule.decision, resources: rule.resources }];
  });
}

function rulesOf({ rules = [], sandboxes = {} }: Lists, yaml: YamlText): DocumentRule[] {
  const lists: [
    entries: readonly (RuleEntryText | null)[],
    path: KeyPath,
    sandbox: string | null,
  ][] = [
    [rules, ['rules'], null],
    ...Object.entries(sandboxes).map(([name, entries]): (typeof lists)[number] => [
      entries,
      ['sandboxes', name],
      name,
    ]),
  ];
  return lists.flatMap(([entries, path, sandbox]) =>
    entries.flatMap((entry, i) => {
      if (entry === null) return [];
      const place = [...path, i];
      const facts = factsOf(entry, place, yaml);
      if (facts === null) return [];
      return [{ ...facts, id: entry.id ?? null, sandbox, at: yaml.placeOf(place) }];
    }),
  );
}

type Facts = Omit<DocumentRule, 'id' | 'sandbox' | 'at'>;

/** @returns null when there are faults, which have been told */
function factsOf(entry: RuleEntryText, path: KeyPath, yaml: YamlText): Facts | null {
  const decision: Decision = entry.deny === undefined ? 'allow' : 'deny';
  const given = entry[decision] ?? [];
  const { protocols, methods, paths } = entry;
  const input = { decision, resources: [given].flat(), protocols, methods, paths };
  try {
    return { decision, ...ruleFacts(input) };
  } catch (error) {
    // A preset's rule is its list; others have it under a name.
    const list = path[0] === 'preset_rules' ? path : [...path, decision];
    if (!addFaults(input, { path, list, isList: Array.isArray(given) }, yaml)) {
      yaml.fault(yaml.placeOf(path), wordsOf(error));
    }
    return null;
  }
}

type Where = { readonly path: KeyPath; readonly list: KeyPath; readonly isList: boolean };

/** Looks for where in a rule its faults are. @returns whether any was found */
function addFaults(input: RuleInput, { path, list, isList }: Where, yaml: YamlText): boolean {
  const { decision, resources, methods, paths } = input;
  const isHttp = methods !== undefined || paths !== undefined;
  let found = false;
  const attempt = (place: KeyPath, work: () => unknown): void => {
    try {
      work();
    } catch (error) {
      found = true;
      yaml.fault(yaml.placeOf(place), wordsOf(error).replace(/^element 1 (?!.*; element )/, ''));
    }
  };
  for (const [i, text] of resources.entries()) {
    attempt(isList ? [...list, i] : list, () => {
      ruleFacts({ decision, resources: [text], ...(isHttp && { methods: ['ANY'] }) });
    });
  }
  attempt(list, () => found || parseResources(resources.join(',')));
  if (isHttp) {
    const place = methods === undefined || paths !== undefined ? 'paths' : 'methods';
    attempt([...path, place], () => parseHttpMatch(methods ?? [], paths ?? []));
  }
  return found;
}

function pathRulesOf({ filesystem }: DocumentText, yaml: YamlText): DocumentPathRule[] | null {
  if (filesystem === undefined) return null;
  return filesystem.map(({ allow, deny, access, sandbox = null }, i) => {
    const decision: Decision = deny === undefined ? 'allow' : 'deny';
    const accesses = (['read', 'write'] as const).filter((one) => access?.includes(one));
    return {
      decision,
      accesses: access === undefined ? accessesFor(decision) : accesses,
      patterns: patternsOf(deny ?? allow ?? [], ['filesystem', i, decision], yaml),
      sandbox,
      at: yaml.placeOf(['filesystem', i]),
    };
  });
}

function presetPathsOf(data: DocumentText, yaml: YamlText): PresetPathRule[] | null {
  const given = data.preset_filesystem;
  if (given === undefined) return null;
  return Object.entries(given).map(([id, paths]) => ({
    id,
    patterns: patternsOf(paths ?? [], ['preset_filesystem', id], yaml),
  }));
}

/** Faults of each are told where it stands. */
function patternsOf(
  given: string | readonly string[],
  path: KeyPath,
  yaml: YamlText,
): PathPattern[] {
  const isList = typeof given !== 'string';
  const patterns = [given].flat().flatMap((text, i) => {
    try {
      return parsePathPatterns([text]);
    } catch (error) {
      yaml.fault(
        yaml.placeOf(isList ? [...path, i] : path),
        wordsOf(error).replace(/^element 1 /, ''),
      );
      return [];
    }
  });
  return [...new Map(patterns.map((pattern) => [pattern.text, pattern])).values()];
}

function wordsOf(error: unknown): string {
  if (error instanceof SallyportError) return error.message;
  throw error;
}

function checkIds(rules: readonly DocumentRule[], yaml: YamlText): void {
  const places = new Map<string, string>();
  for (const { id, at } of rules) {
    if (id === null) continue;
    const before = places.get(id);
    if (before === undefined) places.set(id, at);
    else yaml.fault(at, `the id "${id}" stands at ${before} already`);
  }
}
