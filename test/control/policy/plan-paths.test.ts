// Filesystem rules of a policy file: applied they are there, applied again nothing changes, and what is
// there is written as it is. Covers src/control/policy/listed-document.ts too.
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { SallyportError } from '../../../src/base/errors.ts';
import { applyPolicy } from '../../../src/control/policy/apply.ts';
import { documentOfListing } from '../../../src/control/policy/listed-document.ts';
import { listRules } from '../../../src/control/policy/listing.ts';
import type { Wanted } from '../../../src/control/policy/plan.ts';
import type { WantedPathRule } from '../../../src/control/policy/plan-paths.ts';
import type { PolicyService } from '../../../src/control/policy/policy.ts';
import { documentText } from '../../../src/documents/write.ts';
import { parsePathPatterns } from '../../../src/policy/file-pattern.ts';
import type { Access } from '../../../src/policy/mount.ts';
import type { Decision } from '../../../src/policy/rule.ts';
import { scopesOf, startPolicy, wantedOf } from '../../helpers/policy.ts';

const NAMES = ['one', 'two'];
const scopes = scopesOf(NAMES);
const setup = (t: Test) => startPolicy(t, scopes);

/** What they say, but for defaults as they always are. */
function sayingOf({ pathRules }: PolicyService): string[] {
  return pathRules.map(({ id, decision, scope, access, patterns, createdVia }) =>
    [
      ...[decision, scope, access, patterns.map(({ text }) => text).sort(), createdVia],
      createdVia === 'default' && id,
    ].join(' '),
  );
}

function exported(policy: PolicyService) {
  const listings = [...listRules(policy, scopes, { type: 'all', inactive: true })];
  return documentOfListing(policy.preset, JSON.parse(JSON.stringify(listings)));
}

const rules: fc.Arbitrary<WantedPathRule[]> = fc.array(
  fc
    .record({
      decision: fc.constantFrom<Decision>('allow', 'deny'),
      accesses: fc.constantFrom<readonly Access[]>(['read'], ['write'], ['read', 'write']),
      patterns: fc.uniqueArray(fc.constantFrom('/a', '/a/**', '~/b', '**'), { minLength: 1 }),
      sandbox: fc.constantFrom(undefined, undefined, 'one', 'two'),
    })
    .map(({ sandbox, ...rule }) => (sandbox === undefined ? rule : { ...rule, sandbox })),
  { maxLength: 6 },
);
const presets = fc.constantFrom(
  null,
  [],
  [{ id: 'default-fs-read-allow-all', patterns: ['/home/**', '/tmp'] }],
);

t.test('from any rules to any others, and then there is nothing to do', async (t) => {
  const { policy } = await setup(t);
  const sandboxes = NAMES.map((name) => ({ name }));
  await fc.assert(
    fc.asyncProperty(rules, presets, async (filesystem, presetFilesystem) => {
      const wanted = wantedOf({ filesystem, presetFilesystem, sandboxes });
      const before = JSON.stringify(policy.pathRules);
      const dry = await policy.apply(wanted, true);
      t.equal(JSON.stringify(policy.pathRules), before, 'a dry run changes nothing');
      t.strictSame((await policy.apply(wanted, false)).paths.changes, dry.paths.changes);
      const fresh = await setup(t);
      await fresh.policy.apply(wanted, false);
      t.strictSame(sayingOf(policy).sort(), sayingOf(fresh.policy).sort());
      const { generation } = policy;
      t.strictSame((await policy.apply(wanted, false)).paths.changes, []);
      const adding = wantedOf({ mode: 'add', preset: null, filesystem });
      t.strictSame((await policy.apply(adding, false)).paths.changes, []);

      // What is exported is what is there.
      const file = exported(policy);
      const again = wantedOf({
        sandboxes,
        filesystem: (file.filesystem ?? []).map(({ sandbox, patterns, ...rule }) => ({
          ...rule,
          ...(sandbox !== null && { sandbox }),
          patterns: patterns.map(({ text }) => text),
        })),
        presetFilesystem:
          file.presetFilesystem?.map(({ id, patterns }) => ({
            id,
            patterns: patterns.map(({ text }) => text),
          })) ?? null,
      });
      t.strictSame((await policy.apply(again, false)).paths.changes, []);
      t.equal(policy.generation, generation, 'nothing is published for nothing');
    }),
    { numRuns: 40 },
  );
});

t.test('a file that says nothing of them leaves them', async (t) => {
  const { policy, services } = await setup(t);
  await policy.apply(wantedOf({}), false);
  t.strictSame(sayingOf(policy), [
    'allow 0 read ** default default-fs-read-allow-all',
    'allow 0 write ** default default-fs-write-allow-all',
  ]);
  t.match(exported(policy), { filesystem: [], presetFilesystem: null });
  const patterns = parsePathPatterns(['~/.ssh/**']);
  await policy.paths.add({ decision: 'deny', accesses: ['read', 'write'], patterns });
  await policy.paths.add({ decision: 'allow', accesses: ['read'], patterns, sandbox: 'one' });
  const before = JSON.stringify(policy.pathRules);
  await policy.apply(wantedOf({ preset: 'balanced' }), false);
  t.equal(JSON.stringify(policy.pathRules), before);
  t.strictSame(documentText(exported(policy)), {
    version: 1,
    preset: 'balanced',
    filesystem: [{ deny: '~/.ssh/**' }, { allow: '~/.ssh/**', sandbox: 'one' }],
  });

  const wanted = wantedOf({
    preset: 'balanced',
    filesystem: [{ decision: 'allow', accesses: ['write'], patterns: ['/data/**'] }],
  });
  const result = await applyPolicy(services, wanted, false);
  t.match(result, { added: 1, removed: 2, changed: 0 });
  t.match(result.changes, [
    { op: 'add', rule: { access: 'write', scope: 'global', resources: ['/data/**'] } },
    { op: 'remove', rule: { access: 'read', decision: 'deny' } },
    { op: 'remove', rule: { access: 'write', decision: 'deny' } },
  ]);
  const [last] = sayingOf(policy).filter((saying) => saying.startsWith('allow 1 read ~/.ssh'));
  t.ok(last, 'of a sandbox not spoken of');
});

t.test('faults are told with their places, and nothing is changed', async (t) => {
  const { policy } = await setup(t);
  await policy.initialize('deny-all');
  const rule = { decision: 'deny', accesses: ['read'], patterns: ['/x'] } as const;
  for (const [facts, fault] of [
    [{ filesystem: [{ ...rule, patterns: ['x'], at: 'p:1:1' }] }, 'p:1:1: element 1 "x": '],
    [
      { filesystem: [{ ...rule, sandbox: 'gone', at: 'p:2:1' }] },
      'p:2:1: sandbox "gone" not found',
    ],
    [{ presetFilesystem: [] }, 'the filesystem rules of the preset need the others'],
    [
      { mode: 'add', preset: null, filesystem: [], presetFilesystem: [] },
      'the rules of the preset are not added',
    ],
  ] as [Partial<Wanted>, string][]) {
    const before = JSON.stringify([policy.rules, policy.pathRules]);
    const error = await policy
      .apply(wantedOf(facts), false)
      .catch((error: SallyportError) => error);
    t.ok(error instanceof SallyportError && error.message.startsWith(fault), `${fault}: ${error}`);
    t.equal(JSON.stringify([policy.rules, policy.pathRules]), before);
  }
  await policy.setSemantics({ conflicts: 'refuse' });
  const rules = [{ decision: 'allow' as const, resources: ['a.com'] }];
  const both = [rule, { ...rule, decision: 'allow' as const }];
  await t.rejects(policy.apply(wantedOf({ rules, filesystem: both }), false), {
    code: 'SALLYPORT_CONFLICT',
  });
  t.equal(policy.rules.length, 0, 'nothing of it, not the network rules either');
});
