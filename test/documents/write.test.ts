// A policy that is written is read back the same.
import fc from 'fast-check';
import t from 'tap';
import type { DocumentRule, PolicyDocument } from '../../src/documents/document.ts';
import { readDocument } from '../../src/documents/read.ts';
import { documentText, writeDocument } from '../../src/documents/write.ts';
import { parsePathPatterns } from '../../src/policy/file-pattern.ts';
import { parseHttpMatch } from '../../src/policy/http.ts';
import type { Access } from '../../src/policy/mount.ts';
import { PRESET_NAMES } from '../../src/policy/presets.ts';
import { parseResources } from '../../src/policy/resource.ts';
import type { Decision } from '../../src/policy/rule.ts';
import { protocolsOf, ruleFacts } from '../../src/policy/rule-facts.ts';
import { ruleLists } from '../helpers/arbitraries.ts';

const SANDBOXES = [null, null, 'box', 'true', '7', 'null', '~', 'a b: #'];

const pathRules = fc.array(
  fc.record({
    decision: fc.constantFrom<Decision>('allow', 'deny'),
    accesses: fc.constantFrom<readonly Access[]>(['read'], ['write'], ['read', 'write']),
    patterns: fc
      .uniqueArray(fc.constantFrom('**', '~', '/a b/*', '~/x/**', 'C:\\data', '/#: -'), {
        minLength: 1,
      })
      .map(parsePathPatterns),
    sandbox: fc.constantFrom(...SANDBOXES),
    at: fc.constant(''),
  }),
);

const documents = fc
  .tuple(
    ruleLists,
    fc.constantFrom(null, ...PRESET_NAMES),
    fc.boolean(),
    fc.array(fc.constantFrom(...SANDBOXES), { minLength: 12, maxLength: 12 }),
    fc.constantFrom(null, 'x', 'true', '1.5', 'a.b_c-d'),
    fc.option(pathRules),
  )
  .map(([rules, preset, ownPreset, sandboxes, id, filesystem]): PolicyDocument => {
    const taken = rules.flatMap((rule, i): DocumentRule[] => {
      const { decision, protocols, resources, http } = rule;
      const texts = resources.map(({ text }) => text);
      try {
        const input = { decision, resources: texts, ...(!http && { protocols }) };
        const facts = { ...ruleFacts(input), ...(http && { http, protocols: ['tcp'] as const }) };
        const isForAddress = http && resources.some(({ kind }) => kind === 'cidr');
        const sandbox = sandboxes[i] ?? null;
        return isForAddress
          ? []
          : [{ ...facts, decision, id: i === 0 ? id : null, sandbox, at: '' }];
      } catch {
        return []; // Some of what is generated is no rule for users.
      }
    });
    const own = [
      { id: 'default-x', decision: 'allow' as const, resources: parseResources('a.com') },
    ];
    const named = new Set([...taken.flatMap(({ sandbox }) => sandbox ?? []), 'empty']);
    return {
      preset,
      presetRules: preset !== null && ownPreset ? own : null,
      rules: taken,
      filesystem,
      presetFilesystem: preset !== null && filesystem !== null && ownPreset ? OWN_PATHS : null,
      sandboxes: [...named].map((name) => ({ name, at: '' })),
    };
  });

const OWN_PATHS = [
  { id: 'default-fs-read-allow-all', patterns: parsePathPatterns(['/home/**', '/tmp']) },
];

/** Rules by sandbox, as a file has them, without their places. */
function plain(document: PolicyDocument): unknown {
  const { preset, presetRules, rules, filesystem, presetFilesystem, sandboxes } = document;
  const sorted = rules.map(({ at, ...rule }) => rule);
  return {
    ...{ preset, presetRules, presetFilesystem },
    filesystem: filesystem?.map(({ at, ...rule }) => rule),
    rules: Map.groupBy(sorted, ({ sandbox }) => sandbox),
    sandboxes: sandboxes.map(({ name }) => name).sort(),
  };
}

t.test('whatever is written is read back the same, as YAML and as JSON', async (t) => {
  fc.assert(
    fc.property(documents, fc.boolean(), (document, isCommented) => {
      const of = ({ resources }: DocumentRule) => [
        `about ${resources[0]?.text}`,
        'x\n- allow: evil.com\u2028- allow: evil.com\u0085- deny: x\r- deny: x',
      ];
      const comments = isCommented ? { header: ['One\nversion: 2', '', 'two'], of } : {};
      const yaml = writeDocument(document, comments);
      t.strictSame(plain(readDocument(yaml, 'p')), plain(document), yaml);
      const json = JSON.stringify(documentText(document));
      t.strictSame(plain(readDocument(json, 'p')), plain(document), json);
    }),
    { numRuns: 150 },
  );
});

t.test('what goes without saying is not said', async (t) => {
  const rule = (facts: Partial<DocumentRule>): DocumentRule => {
    const decision = facts.decision ?? 'allow';
    const resources = parseResources('*.a.com:443');
    const more = { id: null, sandbox: null, at: '', protocols: protocolsOf(decision) };
    return { decision, resources, ...more, ...facts };
  };
  const document: PolicyDocument = {
    preset: 'deny-all',
    presetRules: null,
    rules: [
      rule({}),
      rule({ decision: 'deny', resources: parseResources('a.com,10.0.0.0/8'), id: 'no-a' }),
      rule({ decision: 'deny', protocols: ['udp'] }),
      rule({ http: parseHttpMatch(['ANY'], []), sandbox: 'box' }),
      rule({ http: parseHttpMatch(['get'], ['/x']), sandbox: 'box' }),
    ],
    filesystem: [],
    presetFilesystem: null,
    sandboxes: [{ name: 'none', at: '' }],
  };
  const of = ({ id }: DocumentRule) => (id === null ? [] : ['Named.']);
  t.equal(
    writeDocument(document, { header: ['Head', ''], of }),
    `# Head
#
version: 1
preset: deny-all
rules:
  - allow: "*.a.com:443"
  # Named.
  - id: no-a
    deny:
      - a.com
      - 10.0.0.0/8
  - deny: "*.a.com:443"
    protocols:
      - udp
sandboxes:
  none: []
  box:
    - allow: "*.a.com:443"
      methods:
        - ANY
    - allow: "*.a.com:443"
      methods:
        - GET
      paths:
        - /x
filesystem: []
`,
  );
});
