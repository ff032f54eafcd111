// The obvious matcher keeps the promises that all others are held to (src/policy/reference.ts).
import fc from 'fast-check';
import t from 'tap';
import type { Question } from '../../src/policy/decision.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { questions, ruleLists, ruleNamed } from '../helpers/arbitraries.ts';

const RUNS = { numRuns: 2_000 };

function allows(rules: readonly Rule[], question: Question): boolean {
  return referenceMatcher(rules).match(question).action === 'allow';
}

t.test('adding a deny never lets more through', async () => {
  fc.assert(
    fc.property(ruleLists, ruleNamed('new', 'deny'), questions, (rules, deny, question) => {
      return !allows([...rules, deny], question) || allows(rules, question);
    }),
    RUNS,
  );
});

t.test('removing an allow never lets more through', async () => {
  fc.assert(
    fc.property(ruleLists, fc.nat(), questions, (rules, pick, question) => {
      const allow = rules
        .filter(({ decision }) => decision === 'allow')
        .at(pick % Math.max(1, rules.length));
      const rest = rules.filter((rule) => rule !== allow);
      return !allows(rest, question) || allows(rules, question);
    }),
    RUNS,
  );
});

t.test('no rules allow nothing', async () => {
  fc.assert(fc.property(questions, (question) => !allows([], question)));
});
