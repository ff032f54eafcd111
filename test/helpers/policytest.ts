// Reads golden files: rules, requests, and the verdict each must get. The format is in the files:
// `ID allow|deny [scope=N] [tcp|udp|tcp,udp] RESOURCES` and
// `[scope=N] HOST:PORT [udp] [named] allow|deny RULE|default`.
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Question } from '../../src/policy/decision.ts';
import { parseResources } from '../../src/policy/resource.ts';
import type { Decision, Protocol, Rule } from '../../src/policy/rule.ts';
import { parseTarget } from '../../src/policy/target.ts';

export type PolicyCase = {
  readonly line: string;
  readonly question: Question;
  readonly action: Decision;
  /** null when no rule matches. */
  readonly rule: string | null;
};

export type PolicyTest = {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly cases: readonly PolicyCase[];
};

/** All golden files. A malformed line throws, with its file and number. */
export function readPolicyTests(): PolicyTest[] {
  return globSync('test/policies/*.policytest').sort().map(readPolicyTest);
}

function readPolicyTest(path: string): PolicyTest {
  const rules: Rule[] = [];
  const cases: PolicyCase[] = [];
  let section = '';
  for (const [index, line] of readFileSync(path, 'utf8').split('\n').entries()) {
    const words = line.trim().split(/\s+/);
    if (line.startsWith('#') || line.trim() === '') continue;
    if (!line.startsWith(' ')) section = line.trim();
    else if (section === 'rules') rules.push(readRule(words));
    else if (section === 'requests') cases.push(readCase(words, line.trim()));
    else throw new Error(`${path}:${index + 1}: neither rules nor requests`);
  }
  return { name: basename(path, '.policytest'), rules, cases };
}

function readRule(words: readonly string[]): Rule {
  const [id = '', decision, ...rest] = words;
  const resources = parseResources(rest.at(-1) ?? '');
  const protocols = rest.find((word) => /^(tcp|udp|tcp,udp)$/.test(word));
  const byDefault: Protocol[] = decision === 'allow' ? ['tcp'] : ['tcp', 'udp'];
  return {
    id,
    source: 'local',
    decision: decisionOf(decision),
    scope: scopeOf(rest),
    protocols: protocols === undefined ? byDefault : (protocols.split(',') as Protocol[]),
    resources,
  };
}

function readCase(words: readonly string[], line: string): PolicyCase {
  const rule = words.at(-1) ?? '';
  const target = words.find((word) => word.includes(':')) ?? '';
  const { host, port } = parseTarget(target);
  return {
    line,
    question: {
      scope: scopeOf(words),
      host,
      port,
      protocol: words.includes('udp') ? 'udp' : 'tcp',
      namedOnly: words.includes('named'),
    },
    action: decisionOf(words.at(-2)),
    rule: rule === 'default' ? null : rule,
  };
}

function scopeOf(words: readonly string[]): number {
  const word = words.find((one) => one.startsWith('scope='));
  return word === undefined ? 0 : Number(word.slice('scope='.length));
}

function decisionOf(word: string | undefined): Decision {
  if (word === 'allow' || word === 'deny') return word;
  throw new Error(`${word} is neither allow nor deny`);
}
