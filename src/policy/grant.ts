// Leave that a person gave for one connection: a matcher that says yes where no rule says anything. A
// deny stays one, and so does what HTTP rules cover.
import type { Matcher, Question, Verdict } from './decision.ts';

/** The rule that records name. */
export const ONCE_RULE = 'approval-once';

export function grantOnce(
  matcher: Matcher,
  granted: Pick<Question, 'scope' | 'host' | 'port' | 'protocol'>,
): Matcher {
  return {
    match(question: Question): Verdict {
      const verdict = matcher.match(question);
      const isSilent = verdict.action === 'deny' && verdict.kind === 'implicit' && !verdict.http;
      const isIt =
        question.scope === granted.scope &&
        question.host === granted.host &&
        question.port === granted.port &&
        question.protocol === granted.protocol;
      if (!isSilent || !isIt) return verdict;
      return { ...verdict, action: 'allow', kind: 'explicit', rule: ONCE_RULE, source: 'local' };
    },
  };
}
