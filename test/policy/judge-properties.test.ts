// What holds for every policy once names, addresses and the guard come together in judge.ts.
import fc from 'fast-check';
import t from 'tap';
import { type Address, classify, isAddress, parseAddress } from '../../src/policy/address.ts';
import type { Question } from '../../src/policy/decision.ts';
import type { Host } from '../../src/policy/host.ts';
import {
  type AddressGuard,
  judgeAddresses,
  judgeTarget,
  type RefusedAddress,
} from '../../src/policy/judge.ts';
import { isNamed, referenceMatcher } from '../../src/policy/reference.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { addresses, questions, ruleLists, ruleNamed } from '../helpers/arbitraries.ts';
import { rulesOf } from '../helpers/rules.ts';

const RUNS = { numRuns: 1_500 };
const guards = fc.constantFrom<AddressGuard>('strict', 'docker');
const LOCALHOST = 'localhost' as Host;

// Half of the questions are about this machine, where the rules are intricate.
const asked: fc.Arbitrary<Question> = fc.oneof(
  questions,
  fc
    .tuple(questions, fc.constantFrom<Host | Address>(LOCALHOST, ...literals('127.0.0.1', '::1')))
    .map(([question, host]) => ({ ...question, host })),
);

function literals(...texts: string[]): Address[] {
  return texts.map((text) => parseAddress(text) as Address);
}

function allows(rules: readonly Rule[], question: Question, guard: AddressGuard): boolean {
  return judgeTarget(referenceMatcher(rules), question, guard).action === 'allow';
}

function dialled(
  rules: readonly Rule[],
  question: Question,
  found: readonly Address[],
  guard: AddressGuard,
): readonly Address[] {
  return judgeAddresses(referenceMatcher(rules), question, found, guard).checked;
}

t.test('a deny more, or an allow less, opens nothing: no target, no address', async () => {
  const rests = (rules: readonly Rule[], deny: Rule): (readonly Rule[])[] => [
    [deny, ...rules],
    [...rules, deny],
    ...rules
      .filter(({ decision }) => decision === 'allow')
      .map((one) => rules.filter((r) => r !== one)),
  ];
  fc.assert(
    fc.property(
      ruleLists,
      ruleNamed('new', 'deny'),
      asked,
      fc.array(addresses, { maxLength: 4 }),
      guards,
      (rules, deny, question, found, guard) => {
        const before = new Set(dialled(rules, question, found, guard));
        return rests(rules, deny).every(
          (less) =>
            (!allows(less, question, guard) || allows(rules, question, guard)) &&
            dialled(less, question, found, guard).every((address) => before.has(address)),
        );
      },
    ),
    RUNS,
  );
});

t.test('the order of rules settles who is named, not what is decided', async () => {
  fc.assert(
    fc.property(ruleLists, asked, guards, (rules, question, guard) => {
      return allows(rules, question, guard) === allows(rules.toReversed(), question, guard);
    }),
    RUNS,
  );
});

t.test('what the strict guard lets through, the loose one does too', async () => {
  fc.assert(
    fc.property(ruleLists, asked, addresses, (rules, question, address) => {
      const loose = dialled(rules, question, [address], 'docker');
      return (
        (!allows(rules, question, 'strict') || allows(rules, question, 'docker')) &&
        dialled(rules, question, [address], 'strict').every((one) => loose.includes(one))
      );
    }),
    RUNS,
  );
});

t.test('sweeping rules open no special-use address', async () => {
  const sweeping = ruleLists.map((rules) =>
    rules.map((rule) => ({
      ...rule,
      resources: rule.resources.filter((one) => rule.decision === 'deny' || !isNamed(one)),
    })),
  );
  fc.assert(
    fc.property(sweeping, asked, addresses, (rules, question, address) => {
      const special = classify(address) !== 'public';
      const direct = allows(rules, { ...question, host: address }, 'strict');
      const byName = dialled(rules, { ...question, host: 'x.test' as Host }, [address], 'strict');
      return !special || (!direct && byName.length === 0);
    }),
    RUNS,
  );
});

t.test('localhost opens by its own name alone, under either guard', async () => {
  fc.assert(
    fc.property(ruleLists, questions, guards, (rules, question, guard) => {
      const named = rules.some(
        ({ decision, resources }) =>
          decision === 'allow' && resources.some(({ text }) => /^localhost(:|$)/.test(text)),
      );
      return named || !allows(rules, { ...question, host: LOCALHOST }, guard);
    }),
    RUNS,
  );
});

t.test('each address is either checked or refused, in order', async () => {
  fc.assert(
    fc.property(
      ruleLists,
      questions.filter(({ host }) => !isAddress(host)),
      fc.uniqueArray(addresses),
      guards,
      (rules, question, found, guard) => {
        const { checked, refused } = judgeAddresses(
          referenceMatcher(rules),
          question,
          found,
          guard,
        );
        const out = new Set<string>(refused.map(({ address }) => address));
        return (
          found.filter((one) => !out.has(one)).join() === checked.join() &&
          found.length === checked.length + refused.length
        );
      },
    ),
    RUNS,
  );
});

t.test('a refusal says which address, what it is and which rule', async (t) => {
  const question = { scope: 0, host: 'x.test' as Host, port: 80, protocol: 'tcp' } as const;
  const refusals = (rules: Rule[], text: string, guard: AddressGuard): readonly RefusedAddress[] =>
    judgeAddresses(referenceMatcher(rules), question, literals(text), guard).refused;
  const all = rulesOf(['allow', '**']);
  const cases: [rules: Rule[], text: string, guard: AddressGuard, refused: object[]][] = [
    [all, '10.0.0.1', 'strict', [{ class: 'private', rule: null, reason: 'a private address' }]],
    [all, '0.0.0.0', 'docker', [{ class: 'unspecified', reason: 'an unspecified address' }]],
    [all, '169.254.169.254', 'docker', [{ class: 'metadata', reason: 'a metadata address' }]],
    [all, '64:ff9b::7f00:1', 'docker', [{ class: 'nat64', rule: null }]],
    [all, '10.0.0.1', 'docker', []],
    [all, '1.1.1.1', 'strict', []],
    [rulesOf(['deny', '1.0.0.0/8']), '1.1.1.1', 'docker', [{ class: 'public', rule: 'r0' }]],
    [rulesOf(['deny', '1.1.1.1:81']), '1.1.1.1', 'strict', []],
    [
      rulesOf(['allow', '10.0.0.0/8'], ['deny', '10.0.0.1']),
      '10.0.0.1',
      'strict',
      [{ rule: 'r1' }],
    ],
    [rulesOf(['allow', 'localhost:80']), '127.0.0.1', 'strict', []],
    [
      rulesOf(['allow', 'localhost:80']),
      '127.0.0.2',
      'strict',
      [{ class: 'loopback', rule: null }],
    ],
    [rulesOf(['allow', 'localhost:81']), '127.0.0.1', 'strict', [{ class: 'loopback' }]],
    [rulesOf(['allow', '127.0.0.0/8']), '127.0.0.2', 'strict', []],
    [rulesOf(['deny', 'localhost']), '127.0.0.1', 'docker', [{ class: 'loopback', rule: 'r0' }]],
    [
      rulesOf(['allow', '127.0.0.0/8'], ['deny', 'localhost']),
      '127.9.9.9',
      'strict',
      [{ rule: 'r1' }],
    ],
    [
      rulesOf(['allow', '0.0.0.0/8'], ['deny', 'localhost:80']),
      '0.0.0.0',
      'strict',
      [{ rule: 'r1' }],
    ],
  ];
  for (const [rules, text, guard, refused] of cases) {
    const expected = refused.map((one) => ({ address: text, ...one }));
    const found = refusals(rules, text, guard);
    t.equal(found.length, expected.length, `${text} ${guard}`);
    t.match(found, expected, `${text} ${guard}`);
  }
});

t.test('a verdict on a target says why in words', async (t) => {
  const question = { scope: 0, host: LOCALHOST, port: 80, protocol: 'tcp' } as const;
  const matcher = referenceMatcher(rulesOf(['allow', '**'], ['deny', '[::1]:80']), 9);
  t.match(judgeTarget(matcher, question, 'strict'), {
    action: 'deny',
    kind: 'explicit',
    rule: 'r1',
    generation: 9,
    reason: 'Denied by local rule',
  });
  t.match(judgeTarget(matcher, { ...question, port: 81 }, 'docker'), {
    kind: 'implicit',
    rule: null,
    reason: 'No matching allow rule (default deny)',
  });
  t.match(judgeTarget(matcher, { ...question, host: 'x.test' as Host }, 'strict'), {
    action: 'allow',
    rule: 'r0',
    reason: null,
  });
});
