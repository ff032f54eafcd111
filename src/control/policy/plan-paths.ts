// What applying a policy file would do to the filesystem rules. As plan.ts does for the others; here a
// rule has no id of its own in a file, and is known by what it says.
import type { PathPattern } from '../../policy/file-pattern.ts';
import { parsePathPatterns } from '../../policy/file-pattern.ts';
import type { Access } from '../../policy/mount.ts';
import { FILESYSTEM_DEFAULTS } from '../../policy/presets.ts';
import { type Decision, GLOBAL_SCOPE } from '../../policy/rule.ts';
import type { Draft } from './draft.ts';
import type { StoredPathRule } from './path-rule-store.ts';

export type WantedPathRule = {
  readonly decision: Decision;
  readonly accesses: readonly Access[];
  readonly patterns: readonly string[];
  readonly sandbox?: string | undefined;
  readonly at?: string | undefined;
};

export type WantedPaths = {
  /** Null: as it is. */
  readonly filesystem: readonly WantedPathRule[] | null;
  /** Null: as every preset has them. */
  readonly presetFilesystem:
    | readonly { readonly id: string; readonly patterns: readonly string[] }[]
    | null;
};

/** A rule to be, without what only a rule that is has. */
export type PlannedPathRule = {
  /** Null: one is made. */
  readonly id: string | null;
  readonly decision: Decision;
  readonly scope: number;
  readonly access: Access;
  readonly patterns: readonly PathPattern[];
};

export type PathChange =
  | { readonly op: 'add'; readonly rule: PlannedPathRule }
  | { readonly op: 'remove'; readonly rule: StoredPathRule };

export type PathPlan = {
  /** Whether the file says anything of them. */
  readonly isGiven: boolean;
  readonly kept: number;
  readonly changes: readonly PathChange[];
};

/**
 * @param numbers  scopes of the sandboxes that the file names, of those that there are.
 * @param fault  told of what is wrong with a rule, with its place.
 */
export function planPaths(
  { pathRules }: Pick<Draft, 'pathRules'>,
  wanted: WantedPaths,
  mode: 'replace' | 'add',
  numbers: ReadonlyMap<string, number>,
  fault: (at: string | undefined, error: unknown) => void,
): PathPlan {
  const { filesystem } = wanted;
  if (filesystem === null) return { isGiven: false, kept: 0, changes: [] };
  const rules = [
    ...(mode === 'add' ? [] : presetPaths(wanted)),
    ...filesystem.flatMap((rule) => plannedRules(rule, numbers, fault)),
  ];
  const managed = new Set([GLOBAL_SCOPE, ...numbers.values()]);
  const there = pathRules.filter(({ source, scope }) => source === 'local' && managed.has(scope));
  const alike = Map.groupBy(there, contentOf);
  const found = new Set<StoredPathRule>();
  const changes: PathChange[] = [];
  for (const rule of rules) {
    const same =
      mode === 'add' ? alike.get(contentOf(rule))?.[0] : alike.get(contentOf(rule))?.shift();
    if (same === undefined) changes.push({ op: 'add', rule });
    else found.add(same);
  }
  if (mode === 'add') return { isGiven: true, kept: there.length, changes };
  const left = there.filter((rule) => !found.has(rule));
  const removals = left.map((rule): PathChange => ({ op: 'remove', rule }));
  return { isGiven: true, kept: found.size, changes: [...changes, ...removals] };
}

function presetPaths({ presetFilesystem }: WantedPaths): PlannedPathRule[] {
  return FILESYSTEM_DEFAULTS.flatMap(({ id, access, patterns }) => {
    const own =
      presetFilesystem === null
        ? patterns
        : presetFilesystem.find((one) => one.id === id)?.patterns;
    if (own === undefined) return [];
    return [
      { id, decision: 'allow', scope: GLOBAL_SCOPE, access, patterns: parsePathPatterns(own) },
    ];
  });
}

/** @returns none when there are faults, which have been told, or its sandbox is unknown */
function plannedRules(
  { decision, accesses, patterns: texts, sandbox, at }: WantedPathRule,
  numbers: ReadonlyMap<string, number>,
  fault: (at: string | undefined, error: unknown) => void,
): PlannedPathRule[] {
  const scope = sandbox === undefined ? GLOBAL_SCOPE : numbers.get(sandbox);
  if (scope === undefined) return [];
  try {
    const patterns = parsePathPatterns(texts);
    return accesses.map((access) => ({ id: null, decision, scope, access, patterns }));
  } catch (error) {
    fault(at, error);
    return [];
  }
}

/** Rules of presets say what they say under their own name. */
function contentOf(rule: PlannedPathRule | StoredPathRule): string {
  const { id, decision, scope, access, patterns } = rule;
  const name = id?.startsWith('default-') ? id : '';
  return JSON.stringify([name, decision, scope, access, patterns.map(({ text }) => text).sort()]);
}
