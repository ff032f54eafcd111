// What all importers share: a policy that never allows more than what it was made of, and a report of
// what could not be carried over. What is doubtful is left out, and said.
import type { Resource } from '../policy/resource.ts';
import type { Decision } from '../policy/rule.ts';
import { ruleFacts } from '../policy/rule-facts.ts';
import type { DocumentRule, PolicyDocument } from './document.ts';

/**
 * left-out: it would allow something, and is not in the policy. narrower: the policy denies more than
 * it does. assumed: it holds for sandboxes if what is said of it is so.
 */
export type Loss = {
  readonly effect: 'left-out' | 'narrower' | 'assumed';
  /** `file:line` or `file:line:column`. */
  readonly at: string;
  /** What stands there. */
  readonly what: string;
  readonly why: string;
};

export type Imported = { readonly document: PolicyDocument; readonly losses: readonly Loss[] };

/** A rule of these resources; it must be one that could be written. */
export function importedRule(
  decision: Decision,
  resources: readonly string[],
  at: string,
  sandbox: string | null = null,
): DocumentRule {
  return { id: null, decision, ...ruleFacts({ decision, resources }), sandbox, at };
}

/** What may be named so, or why it may not. */
export function importedResources(decision: Decision, text: string): readonly Resource[] | string {
  try {
    return ruleFacts({ decision, resources: [text] }).resources;
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return words.replace(/^element 1 ("[^"]*": )?/, '');
  }
}

/**
 * Resources for a name that may begin with `*.` for any number of labels, and end with a port; or why
 * there are none. Our own globs, lists and ranges mean nothing where it comes from.
 */
export function importedName(decision: Decision, text: string): readonly string[] | string {
  if (!/^(?:\*\.)?[^\s*?[\]/,:!\\]+(?::\d+)?$/u.test(text)) return 'it is no name';
  if (decision === 'allow' && /^\*\.[^.]*$/.test(text)) return 'it is a whole top-level domain';
  const found = importedResources(decision, text.replace(/^\*\./, '**.'));
  return typeof found === 'string' ? found : found.map((resource) => resource.text);
}

export function importedDocument(rules: readonly DocumentRule[]): PolicyDocument {
  const sandboxes = new Set(rules.flatMap(({ sandbox }) => sandbox ?? []));
  return {
    preset: 'deny-all',
    presetRules: null,
    rules,
    filesystem: null,
    presetFilesystem: null,
    sandboxes: [...sandboxes].map((name) => ({ name, at: '' })),
  };
}
