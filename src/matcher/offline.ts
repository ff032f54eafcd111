// The matcher that enforces, over any rules, for tools that run beside the daemon.
import type { Matcher } from '../policy/decision.ts';
import type { Rule } from '../policy/rule.ts';
import { Lane } from './lane.ts';
import { Publisher } from './publish.ts';

/**
 * A matcher in a memory of its own.
 *
 * @param rules  their ids may be of any form here, such as places in a file.
 * @throws SALLYPORT_POLICY_TOO_LARGE
 */
export async function offlineMatcher(rules: readonly Rule[]): Promise<Matcher> {
  const publisher = await Publisher.create();
  await publisher.publish(rules.map((rule, i) => ({ ...rule, id: String(i) })));
  const lane = new Lane(publisher.memory, publisher.module, 0);
  return {
    match: (question) => {
      const verdict = lane.match(question);
      if (verdict.rule === null) return verdict;
      return { ...verdict, rule: rules[Number(verdict.rule)]?.id ?? verdict.rule };
    },
  };
}
