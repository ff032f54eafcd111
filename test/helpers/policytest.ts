// Reads test/policies/*.policytest: rules, requests, and the verdict that every matcher must give.
//
//   # What the file shows.
//   guard strict                   (or docker; without it the matcher alone is asked)
//   rules
//     ID allow|deny [@SCOPE] [tcp|udp|tcp,udp] RESOURCES
//   requests
//     [@SCOPE] [udp] [named] HOST:PORT => allow|deny RULE|default
//
// The scope is the global one unless given; allow rules are for tcp and deny rules for both. The
// arrow is for the eye and may be left out.
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Matcher, Question, Verdict } from '../../src/policy/decision.ts';
import { parseHost } from '../../src/policy/host.ts';
import { type AddressGuard, judgeTarget } from '../../src/policy/judge.ts';
import { checkForDecision, parseResources, splitPort } from '../../src/policy/resource.ts';
import { GLOBAL_SCOPE, type Protocol, type Rule } from '../../src/policy/rule.ts';

export type PolicyCase = {
  /** Where it stands: `file:line HOST:PORT => ...`. */
  readonly name: string;
  readonly question: Question;
  readonly action: 'allow' | 'deny';
  /** null: no rule matched. */
  readonly rule: string | null;
};

export type PolicyFile = {
  readonly name: string;
  readonly guard: AddressGuard | null;
  /** In list order. */
  readonly rules: readonly Rule[];
  readonly cases: readonly PolicyCase[];
};

/** Every golden file, by name. */
export function policyFiles(): PolicyFile[] {
  const folder = join(import.meta.dirname, '../policies');
  return globSync(join(folder, '*.policytest'))
    .sort()
    .map((path) => readPolicyFile(basename(path, '.policytest'), readFileSync(path, 'utf8')));
}

/** Asks as the file wants it: through its guard, or the matcher alone. */
export function verdictOf(matcher: Matcher, file: PolicyFile, { question }: PolicyCase): Verdict {
  return file.guard === null ? matcher.match(question) : judgeTarget(matcher, question, file.guard);
}

/** @throws Error with `name:line` for a line that cannot be read. */
export function readPolicyFile(name: string, text: string): PolicyFile {
  const file = {
    name,
    guard: null as AddressGuard | null,
    rules: [] as Rule[],
    cases: [] as PolicyCase[],
  };
  let section = '';
  for (const { words, where } of linesOf(name, text)) {
    if (words[0] === 'guard') file.guard = guardOf(words[1], where);
    else if (words.length === 1) section = words.join();
    else if (section === 'rules') file.rules.push(ruleOf(words, where));
    else if (section === 'requests') file.cases.push(caseOf(words, where, file.rules));
    else throw new Error(`${where}: neither under "rules" nor under "requests"`);
  }
  if (file.cases.length === 0) throw new Error(`${name}: has no requests`);
  return file;
}

function linesOf(name: string, text: string): { words: string[]; where: string }[] {
  return text
    .split('\n')
    .map((line, index) => ({
      words: line.replace(/#.*/, '').split(/\s+/).filter(Boolean),
      where: `${name}:${index + 1}`,
    }))
    .filter(({ words }) => words.length > 0);
}

function guardOf(word: string | undefined, where: string): AddressGuard {
  if (word === 'strict' || word === 'docker') return word;
  throw new Error(`${where}: guard is strict or docker`);
}

function ruleOf(words: string[], where: string): Rule {
  const [id = '', decision, ...rest] = words;
  const resources = parseResources(rest.pop() ?? '');
  if (decision !== 'allow' && decision !== 'deny') throw new Error(`${where}: allow or deny?`);
  checkForDecision(decision, resources);
  const { scope, protocols, others } = optionsOf(rest);
  if (others.length > 0) throw new Error(`${where}: what is ${others.join(' ')}?`);
  const usual: Protocol[] = decision === 'allow' ? ['tcp'] : ['tcp', 'udp'];
  return { id, source: 'local', decision, scope, protocols: protocols ?? usual, resources };
}

function caseOf(words: string[], where: string, rules: readonly Rule[]): PolicyCase {
  const name = `${where} ${words.join(' ')}`;
  const [action, rule = ''] = words.splice(-2);
  if (words.at(-1) === '=>') words.pop();
  if (action !== 'allow' && action !== 'deny') throw new Error(`${where}: allow or deny?`);
  if (rule !== 'default' && !rules.some(({ id }) => id === rule)) {
    throw new Error(`${where}: there is no rule ${rule}`);
  }
  const { scope, protocols, others } = optionsOf(words);
  const [target = '', ...unknown] = others.filter((word) => word !== 'named');
  if (unknown.length > 0) throw new Error(`${where}: what is ${unknown.join(' ')}?`);
  const { host, port } = splitPort(target);
  if (typeof port === 'string' || port === 0) throw new Error(`${where}: not HOST:PORT`);
  const question = {
    scope,
    host: parseHost(host),
    port,
    protocol: protocols?.[0] ?? 'tcp',
    namedOnly: others.includes('named'),
  } as const;
  return { name, question, action, rule: rule === 'default' ? null : rule };
}

type Options = { scope: number; protocols: Protocol[] | null; others: string[] };

function optionsOf(words: readonly string[]): Options {
  const options: Options = { scope: GLOBAL_SCOPE, protocols: null, others: [] };
  for (const word of words) {
    if (/^@\d+$/.test(word)) options.scope = Number(word.slice(1));
    else if (/^(tcp|udp)(,udp)?$/.test(word)) options.protocols = word.split(',') as Protocol[];
    else options.others.push(word);
  }
  return options;
}
