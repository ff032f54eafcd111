// How to turn a verdict around: the fewest commands after which the same question is answered the
// other way. Each plan is tried on the rules before it is told.
import { EXPLAINED_RULES_MAX } from '../base/limits.ts';
import { type Asked, type Explanation, judgeBy, touches } from './explain.ts';
import { type HttpMatch, METHODS, methodNames } from './http.ts';
import { isExplicitDeny } from './judge.ts';
import { isPattern, readingsOf } from './path.ts';
import { checkForDecision, formatHostPort, parseResources, type Resource } from './resource.ts';
import { type Decision, GLOBAL_SCOPE, type Protocol, type Rule } from './rule.ts';

export type Step =
  | { readonly op: 'remove'; readonly rule: Rule }
  /** Out of every rule of the scope for the same requests. */
  | { readonly op: 'take-out'; readonly rule: Rule; readonly resource: Resource }
  | { readonly op: 'add'; readonly rule: Rule };

/**
 * @param touching  all rules that touch the question.
 * @returns the steps, or why there are none.
 */
export function remedyOf(
  touching: readonly Rule[],
  { verdict }: Pick<Explanation, 'verdict'>,
  asked: Asked,
): readonly Step[] | string {
  if (verdict.action === 'allow') {
    const add: Step = { op: 'add', rule: ruleFor('deny', asked) };
    return judgeBy(applySteps(touching, [add]), asked).action === 'deny' ? [add] : NO_RULE;
  }
  const denying = touching.filter((rule) => isExplicitDeny(judgeBy([rule], asked)));
  const fixed = denying.find(({ source }) => source !== 'local');
  if (fixed !== undefined) return FIXED[fixed.source];
  if (denying.length > EXPLAINED_RULES_MAX) return `${denying.length} rules deny it`;
  const removal = denying.flatMap((rule) => removalOf(rule, asked));
  if (judgeBy(applySteps(touching, removal), asked).action === 'allow') return removal;
  const add = ruleFor('allow', asked);
  if (forbidden(add)) return NO_RULE;
  const plan: Step[] = [...removal, { op: 'add', rule: add }];
  return judgeBy(applySteps(touching, plan), asked).action === 'allow' ? plan : NO_RULE;
}

const NO_RULE = 'no rule for this target changes that';
const FIXED: Readonly<Record<Rule['source'], string>> = {
  local: NO_RULE,
  kit: 'the rule came with the kit of the sandbox; register the sandbox with another kit',
  remote: 'the rule is your organization\u2019s; only who manages its policy can change that',
};

/** The rules as they are after the steps. */
export function applySteps(rules: readonly Rule[], steps: readonly Step[]): readonly Rule[] {
  return steps.reduce(applyStep, rules);
}

function applyStep(rules: readonly Rule[], step: Step): readonly Rule[] {
  if (step.op === 'add') return [...rules, step.rule];
  if (step.op === 'remove') return rules.filter(({ id }) => id !== step.rule.id);
  return rules
    .map((rule) => (isLike(rule, step.rule) ? without(rule, step.resource) : rule))
    .filter(({ resources }) => resources.length > 0);
}

function isLike(rule: Rule, { scope, http }: Rule): boolean {
  return rule.scope === scope && JSON.stringify(rule.http) === JSON.stringify(http);
}

function without(rule: Rule, { text }: Resource): Rule {
  return { ...rule, resources: rule.resources.filter((one) => one.text !== text) };
}

/** By resource where it has others, which should stay; several paths cannot be told on one line. */
function removalOf(rule: Rule, { question }: Asked): Step[] {
  const covering = rule.resources.filter(
    (one) => touches({ ...rule, resources: [one] }, question) !== null,
  );
  const whole = covering.length === rule.resources.length || (rule.http?.paths.length ?? 0) > 1;
  if (whole) return [{ op: 'remove', rule }];
  return covering.map((resource) => ({ op: 'take-out', rule, resource }));
}

function ruleFor(decision: Decision, asked: Asked): Rule {
  const { scope, host, port, protocol } = asked.question;
  const http = protocol === 'tcp' ? requestsFor(decision, asked) : undefined;
  const both: readonly Protocol[] = ['tcp', 'udp'];
  return {
    id: 'new',
    source: 'local',
    decision,
    scope,
    protocols: decision === 'deny' && http === undefined ? both : [protocol],
    resources: parseResources(formatHostPort(host, port)),
    ...(http && { http }),
  };
}

/** The one request that was asked about, where a rule can say it; else all that goes there. */
function requestsFor(decision: Decision, { question, request }: Asked): HttpMatch | undefined {
  if (request === undefined || /[\d:]$/.test(question.host)) return undefined;
  if (request.method === 'CONNECT') {
    return decision === 'deny' ? { methods: ['CONNECT'], paths: ['/**'] } : undefined;
  }
  const readings = readingsOf(request.target);
  if (typeof readings === 'string') return undefined;
  const [path = ''] = readings;
  const single = decision === 'deny' || readings.length === 1;
  if (!single || !isPattern(path)) return undefined;
  const methods = METHODS.filter((method) => method === request.method);
  return { methods, paths: [path] };
}

function forbidden({ decision, resources }: Rule): boolean {
  try {
    checkForDecision(decision, resources);
    return false;
  } catch {
    return true;
  }
}

/**
 * The words of a step's command, behind the program's name.
 *
 * @param nameOf  of a sandbox by its scope.
 */
export function commandOf(step: Step, nameOf: (scope: number) => string): string {
  const { rule } = step;
  if (step.op === 'remove') return `policy rm network --id ${rule.id}`;
  const scoped = rule.scope === GLOBAL_SCOPE ? [] : ['--sandbox', nameOf(rule.scope)];
  const requests = requestWords(rule.http);
  if (step.op === 'take-out') {
    const words = ['policy rm network', ...scoped, '--resource', quoted(step.resource.text)];
    return [...words, ...requests].join(' ');
  }
  const udp = rule.decision === 'allow' && rule.protocols.includes('udp');
  const resources = quoted(rule.resources.map(({ text }) => text).join(','));
  const protocol = udp ? ['--protocol', rule.protocols.join(',')] : [];
  return [`policy ${rule.decision} network`, ...scoped, resources, ...protocol, ...requests].join(
    ' ',
  );
}

/** Of an HTTP rule, the options that say so. */
export function requestWords(http: HttpMatch | undefined): string[] {
  if (http === undefined) return [];
  return [
    '--method',
    methodNames(http).join(','),
    ...http.paths.flatMap((path) => ['--path', quoted(path)]),
  ];
}

/** For a POSIX shell. */
export function quoted(text: string): string {
  return /^[\w./:,@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
