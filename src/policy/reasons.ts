// The words that decisions are told in: in the log, in `policy check`, in a refusal. Scripts and
// agents look for them, so they are said in one place.
import { isAddress } from './address.ts';
import type { Question, Verdict } from './decision.ts';
import { formatHostPort } from './resource.ts';

export const DENIED_BY = {
  local: 'Denied by local rule',
  kit: 'Denied by kit rule',
  remote: 'Denied by organization policy',
} as const;

/** Why a verdict denies; null for an allow. */
export function reasonOf(verdict: Omit<Verdict, 'http' | 'generation'>): string | null {
  if (verdict.action === 'allow') return null;
  if (verdict.kind === 'implicit') return 'No matching allow rule (default deny)';
  return DENIED_BY[verdict.source ?? 'local'];
}

/** The rule as lists and logs name it: user rules carry their source, presets their own name. */
export function ruleLabel(rule: string): string {
  return isMadeId(rule) ? `local:${rule}` : rule;
}

/** Whether an id was made for a rule that nobody named. */
export function isMadeId(rule: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(rule);
}

/** `op(action=net:connect:tcp, resource=net:domain:example.com:443)` */
export function operationOf({
  host,
  port,
  protocol,
}: Pick<Question, 'host' | 'port' | 'protocol'>): string {
  const type = isAddress(host) ? 'net:ip' : 'net:domain';
  return `op(action=net:connect:${protocol}, resource=${type}:${formatHostPort(host, port)})`;
}

/** The RULE column of a blocked row. */
export function ruleText(
  rule: string | null,
  question: Pick<Question, 'host' | 'port' | 'protocol'>,
): string {
  const operation = operationOf(question);
  if (rule === null) return `no applicable policies for ${operation}`;
  return `denied: rule "${ruleLabel(rule)}" matched ${operation}`;
}
