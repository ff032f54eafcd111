// A policy, written as a file that read.ts reads back the same.
import { Document, isNode } from 'yaml';
import { printable } from '../base/printable.ts';
import { methodNames } from '../policy/http.ts';
import { accessesFor } from '../policy/mount.ts';
import { protocolsOf } from '../policy/rule-facts.ts';
import type { DocumentPathRule, DocumentRule, PolicyDocument } from './document.ts';
import type { DocumentText, PathEntryText, RuleEntryText } from './schema.ts';

export type Comments = {
  /** Lines at the top. What they hold stays in them, whoever wrote it. */
  readonly header?: readonly string[];
  /** Lines before a rule. */
  readonly of?: (rule: DocumentRule) => readonly string[];
};

/** @returns YAML, with a newline at its end */
export function writeDocument(
  document: PolicyDocument,
  { header = [], of }: Comments = {},
): string {
  const yaml = new Document(documentText(document));
  if (of !== undefined) commentRules(yaml, document, of);
  const top = header.map((line) => `${`# ${printable(line)}`.trimEnd()}\n`).join('');
  return top + yaml.toString({ lineWidth: 0 });
}

function commentRules(
  yaml: Document,
  document: PolicyDocument,
  of: Required<Comments>['of'],
): void {
  for (const [sandbox, rules] of bySandbox(document)) {
    const path = sandbox === null ? ['rules'] : ['sandboxes', sandbox];
    for (const [i, rule] of rules.entries()) {
      const node = yaml.getIn([...path, i], true);
      const lines = of(rule).map((line) => ` ${printable(line)}`);
      if (isNode(node) && lines.length > 0) node.commentBefore = lines.join('\n');
    }
  }
}

/** What the YAML says; as JSON it says the same. */
export function documentText(document: PolicyDocument): DocumentText {
  const { preset, presetRules, filesystem, presetFilesystem } = document;
  const groups = bySandbox(document);
  const global = groups.get(null) ?? [];
  groups.delete(null);
  return {
    version: 1,
    ...(preset !== null && { preset }),
    ...(presetRules !== null && {
      preset_rules: Object.fromEntries(presetRules.map((rule) => [rule.id, texts(rule.resources)])),
    }),
    ...(global.length > 0 && { rules: global.map(entryOf) }),
    ...(groups.size > 0 && {
      sandboxes: Object.fromEntries(
        [...groups].map(([name, rules]) => [String(name), rules.map(entryOf)]),
      ),
    }),
    ...(filesystem !== null && { filesystem: filesystem.map(pathEntryOf) }),
    ...(presetFilesystem !== null && {
      preset_filesystem: Object.fromEntries(
        presetFilesystem.map(({ id, patterns }) => [id, texts(patterns)]),
      ),
    }),
  };
}

function bySandbox({ rules, sandboxes }: PolicyDocument): Map<string | null, DocumentRule[]> {
  const groups = new Map<string | null, DocumentRule[]>(sandboxes.map(({ name }) => [name, []]));
  for (const rule of rules) {
    const group = groups.get(rule.sandbox);
    if (group === undefined) groups.set(rule.sandbox, [rule]);
    else group.push(rule);
  }
  return groups;
}

/** What goes without saying is not said. */
function entryOf({ id, decision, resources, protocols, http }: DocumentRule): RuleEntryText {
  const usual = String(protocols) === String(protocolsOf(decision));
  return {
    ...(id !== null && { id }),
    ...(decision === 'allow' ? { allow: texts(resources) } : { deny: texts(resources) }),
    ...(http === undefined && !usual && { protocols: [...protocols] }),
    ...(http && { methods: [...methodNames(http)] }),
    ...(http && String(http.paths) !== '/**' && { paths: [...http.paths] }),
  };
}

function pathEntryOf({ decision, accesses, patterns, sandbox }: DocumentPathRule): PathEntryText {
  const usual = String(accesses) === String(accessesFor(decision));
  return {
    ...(decision === 'allow' ? { allow: texts(patterns) } : { deny: texts(patterns) }),
    ...(!usual && { access: [...accesses] }),
    ...(sandbox !== null && { sandbox }),
  };
}

function texts(resources: readonly { readonly text: string }[]): string | string[] {
  const all = resources.map(({ text }) => text);
  return all.length === 1 ? (all[0] ?? '') : all;
}
