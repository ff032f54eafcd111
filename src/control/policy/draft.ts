// A policy under change: the rules in force with a few taken out and put in. Cheap whatever the
// number of rules, so that a batch of changes can be built up and thrown away.
import type { Governance, Semantics } from '../../policy/precedence.ts';
import type { PolicySettings, StoreChange, StoredRule } from '../store.ts';
import type { StoredPathRule } from './path-rule-store.ts';

/** The rules in force, in order of creation. Replaced as a whole, never changed in place. */
export type RuleSet = {
  readonly rules: readonly StoredRule[];
  readonly byId: Map<string, StoredRule>;
  /** Filesystem rules, in order of creation. */
  readonly pathRules: readonly StoredPathRule[];
} & PolicySettings;

export class Draft {
  readonly #base: RuleSet;
  readonly #removed = new Map<string, StoredRule>();
  readonly #added = new Map<string, StoredRule>();
  #settings: PolicySettings;
  #pathRules: readonly StoredPathRule[];
  #changed = false;

  constructor(base: RuleSet) {
    this.#base = base;
    this.#settings = settingsOf(base);
    this.#pathRules = base.pathRules;
  }

  get preset(): string | null {
    return this.#settings.preset;
  }

  set preset(preset: string | null) {
    this.#change({ preset });
  }

  get governance(): Governance | null {
    return this.#settings.governance;
  }

  set governance(governance: Governance | null) {
    this.#change({ governance });
  }

  get semantics(): Semantics {
    return this.#settings.semantics;
  }

  set semantics(semantics: Semantics) {
    this.#change({ semantics });
  }

  get pathRules(): readonly StoredPathRule[] {
    return this.#pathRules;
  }

  set pathRules(rules: readonly StoredPathRule[]) {
    this.#pathRules = rules;
    this.#changed = true;
  }

  get changed(): boolean {
    return this.#changed;
  }

  get count(): number {
    return this.#base.rules.length - this.#removed.size + this.#added.size;
  }

  get(id: string): StoredRule | undefined {
    const added = this.#added.get(id);
    if (added !== undefined) return added;
    return this.#removed.has(id) ? undefined : this.#base.byId.get(id);
  }

  /** All rules that `keep` says yes to, in no particular order. */
  select(keep: (rule: StoredRule) => boolean): StoredRule[] {
    const base = this.#base.rules.filter((rule) => keep(rule) && !this.#removed.has(rule.id));
    return base.concat([...this.#added.values()].filter(keep));
  }

  /** Adds a rule, or puts it in the place of the one with its id. */
  put(rule: StoredRule): void {
    this.remove(rule.id);
    this.#added.set(rule.id, rule);
    this.#changed = true;
  }

  remove(id: string): void {
    this.#added.delete(id);
    const before = this.#base.byId.get(id);
    if (before !== undefined) this.#removed.set(id, before);
    this.#changed = true;
  }

  /** The rules as they would be. */
  result(): StoredRule[] {
    const kept = this.#removed.size === 0 ? this.#base.rules : this.#replaced();
    const fresh = [...this.#added.values()].filter(({ id }) => !this.#removed.has(id));
    return kept.concat(fresh);
  }

  /** What the store has to do. */
  change(): StoreChange {
    return {
      remove: [...this.#removed.keys()],
      add: [...this.#added.values()],
      settings: this.#settings,
      ...this.#pathChange(this.#pathRules),
    };
  }

  /** What takes change() back. */
  inverse(): StoreChange {
    return {
      remove: [...this.#added.keys()],
      add: [...this.#removed.values()],
      settings: settingsOf(this.#base),
      ...this.#pathChange(this.#base.pathRules),
    };
  }

  /** The rules in force once this is published; the base must not be used after. */
  settle(rules: readonly StoredRule[]): RuleSet {
    const { byId } = this.#base;
    for (const id of this.#removed.keys()) byId.delete(id);
    for (const [id, rule] of this.#added) byId.set(id, rule);
    return { rules, byId, pathRules: this.#pathRules, ...this.#settings };
  }

  #pathChange(pathRules: readonly StoredPathRule[]): Pick<StoreChange, 'pathRules'> {
    return this.#pathRules === this.#base.pathRules ? {} : { pathRules };
  }

  #change(settings: Partial<PolicySettings>): void {
    this.#settings = { ...this.#settings, ...settings };
    this.#changed = true;
  }

  #replaced(): StoredRule[] {
    return this.#base.rules.flatMap((rule) => {
      if (!this.#removed.has(rule.id)) return [rule];
      const replacement = this.#added.get(rule.id);
      return replacement === undefined ? [] : [replacement];
    });
  }
}

function settingsOf({ preset, governance, semantics }: PolicySettings): PolicySettings {
  return { preset, governance, semantics };
}
