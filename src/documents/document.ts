// A policy as a file says it: what the preset is, and which rules there are beside it. Only local
// policy is ever in a file: rules of kits and of organisations have owners of their own.
import type { PathPattern } from '../policy/file-pattern.ts';
import type { Access } from '../policy/mount.ts';
import { type PresetName, type PresetRule, presetRules } from '../policy/presets.ts';
import { type Decision, GLOBAL_SCOPE, type Rule } from '../policy/rule.ts';
import { protocolsOf, type RuleFacts } from '../policy/rule-facts.ts';

export type PresetPathRule = { readonly id: string; readonly patterns: readonly PathPattern[] };

export type DocumentRule = RuleFacts & {
  /** Null: nobody named it. */
  readonly id: string | null;
  readonly decision: Decision;
  /** Null: for all. */
  readonly sandbox: string | null;
  /** `file:line:column`; empty for what comes from no file. */
  readonly at: string;
};

/** Which paths of the host may be mounted; one rule for each access. */
export type DocumentPathRule = {
  readonly decision: Decision;
  readonly accesses: readonly Access[];
  readonly patterns: readonly PathPattern[];
  readonly sandbox: string | null;
  readonly at: string;
};

export type PolicyDocument = {
  /** Null: it says nothing of it, and is no whole policy. */
  readonly preset: PresetName | null;
  /** Null: those that this version gives the preset. */
  readonly presetRules: readonly PresetRule[] | null;
  readonly rules: readonly DocumentRule[];
  /** Null: it says nothing of them. */
  readonly filesystem: readonly DocumentPathRule[] | null;
  /** Null: those that this version gives every preset. */
  readonly presetFilesystem: readonly PresetPathRule[] | null;
  /** Those that it speaks of, be it to say that they have no rules. */
  readonly sandboxes: readonly { readonly name: string; readonly at: string }[];
};

/** Sandboxes by number, for policies that no daemon has numbered. */
export class ScopeTable {
  readonly #names: string[] = [];
  readonly #numbers = new Map<string, number>();

  /** The number of a name, a new one if need be. */
  numberOf(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.#names.push(name); // Counts from 1: 0 is GLOBAL_SCOPE.
    this.#numbers.set(name, number);
    return number;
  }

  nameOf(number: number): string | undefined {
    return this.#names[number - 1];
  }

  get names(): readonly string[] {
    return this.#names;
  }
}

export function documentPresetRules({ preset, presetRules: own }: PolicyDocument): PresetRule[] {
  return own === null ? (preset === null ? [] : presetRules(preset)) : [...own];
}

/** The rules as the matcher takes them; those without an id have their place for one. */
export function documentRules(document: PolicyDocument, scopes: ScopeTable): Rule[] {
  const presets = documentPresetRules(document).map(
    (rule): Rule => ({
      ...rule,
      source: 'local',
      scope: GLOBAL_SCOPE,
      protocols: protocolsOf(rule.decision),
    }),
  );
  const own = document.rules.map(
    ({ id, at, sandbox, ...facts }, i): Rule => ({
      ...facts,
      id: id ?? (at === '' ? `rule-${i + 1}` : at),
      source: 'local',
      scope: sandbox === null ? GLOBAL_SCOPE : scopes.numberOf(sandbox),
    }),
  );
  return [...presets, ...own];
}
