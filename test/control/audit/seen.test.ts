// Records summed up to what a rule could be for, and suggested rules as a file. Covers
// src/control/policy/suggestion.ts too.
import t from 'tap';
import { SEEN_MAX } from '../../../src/base/limits.ts';
import type { RecordedExchange } from '../../../src/control/audit/read.ts';
import { type SeenOptions, SeenTable } from '../../../src/control/audit/seen.ts';
import { closed, isOpen, suggestionOf } from '../../../src/control/policy/suggestion.ts';
import { type PolicyDocument, ScopeTable } from '../../../src/documents/document.ts';
import { documentText } from '../../../src/documents/write.ts';
import { parseHttpMatch } from '../../../src/policy/http.ts';
import { referenceMatcher } from '../../../src/policy/reference.ts';
import { parseResources } from '../../../src/policy/resource.ts';
import type { Rule } from '../../../src/policy/rule.ts';
import { suggest } from '../../../src/policy/suggest.ts';
import { outcomeOf } from '../../helpers/control.ts';
import { ruleOf } from '../../helpers/rules.ts';

function denied(facts: Partial<RecordedExchange> = {}): RecordedExchange {
  const { sandbox, mode, method, path, host, port } = outcomeOf();
  const asked = {
    seq: 1,
    time: '2026-01-02T03:04:05.678Z',
    sandbox,
    mode,
    method,
    path,
    host,
    port,
  };
  const none = { address: null, deny_kind: null, rule: null, reason: null, code: null };
  return { ...asked, ...none, verdict: 'deny', ...facts };
}

function tableOf(
  records: readonly RecordedExchange[],
  rules: readonly Rule[] = [],
  options: Partial<SeenOptions> = {},
): SeenTable {
  const all = { guard: 'strict', allowed: false, sandbox: null, ...options } as const;
  const judged = { rules, matcher: referenceMatcher(rules) };
  const table = new SeenTable(judged, new ScopeTable(), all);
  for (const record of records) table.add(record);
  return table;
}

t.test('what is one for a rule is one row', async (t) => {
  const later = '2026-02-02T03:04:05.678Z';
  const records = [
    denied(),
    denied({ method: 'GET', path: '/x', mode: 'forward', time: later }),
    denied({ port: 80 }),
    denied({ sandbox: 'other' }),
    denied({ verdict: 'allow', host: 'ok.com' }),
    denied({ verdict: 'none', host: 'none.com' }),
    denied({ host: 'no host' }),
    denied({ port: 0 }),
    denied({ mode: 'forward' }),
  ];
  const { rows, refused } = tableOf(records);
  t.match(rows, [
    {
      sandbox: 'box',
      scope: 1,
      host: 'example.com',
      port: 443,
      request: null,
      count: 2,
      time: later,
    },
    { sandbox: 'box', port: 80, count: 1 },
    { sandbox: 'other', scope: 2, port: 443 },
  ]);
  t.equal(rows.length, 3);
  t.strictSame(refused, []);
  t.equal(tableOf(records, [], { sandbox: 'other' }).rows.length, 1);
  t.ok(tableOf(records, [], { allowed: true }).rows.some(({ host }) => host === 'ok.com'));
});

t.test('requests are told apart where HTTP rules decide', async (t) => {
  const rules = [ruleOf('allow', 'example.com', { http: parseHttpMatch(['GET'], ['/a']) })];
  const asked = { method: 'POST', mode: 'forward' };
  const { rows } = tableOf(
    [
      denied({ ...asked, path: '/a' }),
      denied({ ...asked, path: '/b' }),
      denied({ ...asked, path: '/b' }),
    ],
    rules,
  );
  t.match(rows, [
    { request: { method: 'POST', target: '/a' } },
    { request: { target: '/b' }, count: 2 },
  ]);
});

t.test('what was refused for its address is no matter of its name', async (t) => {
  const facts = { code: 'SALLYPORT_ADDRESS_FORBIDDEN', reason: 'it leads to 10.0.0.1' };
  const { rows, refused } = tableOf([denied(facts), denied(facts)]);
  t.strictSame(rows, []);
  t.match(refused, [{ seen: { count: 2 }, why: 'it leads to 10.0.0.1; a rule has to name' }]);
});

t.test('rows are bounded', async (t) => {
  const many = Array.from({ length: SEEN_MAX + 2 }, (_, i) => denied({ host: `h${i}.com` }));
  const table = tableOf(many);
  t.equal(table.rows.length, SEEN_MAX);
  t.equal(table.omitted, 2);
});

t.test(
  'a suggestion is added to a policy, or replaces one that lets everything pass',
  async (t) => {
    const open = [
      ruleOf('allow', '**,a.com'),
      ruleOf('allow', '**', { scope: 1 }),
      ruleOf('allow', '**:443'),
    ];
    t.ok(open.slice(0, 2).every(isOpen));
    t.notOk(isOpen(ruleOf('allow', '**:443')));
    t.notOk(isOpen(ruleOf('deny', '**')));
    t.notOk(isOpen(ruleOf('allow', '**', { http: parseHttpMatch(['GET'], []) })));
    t.strictSame(
      closed(open).map(({ resources }) => resources.map(({ text }) => text)),
      [['a.com'], ['**:443']],
    );

    const scopes = new ScopeTable();
    for (const name of ['box', 'gone']) scopes.numberOf(name);
    const seen = (sandbox: string, host: string) => {
      const place = { scope: scopes.numberOf(sandbox), host: host as never, port: 443 };
      return { ...place, request: null, sandbox, count: 1, time: '' };
    };
    const options = { guard: 'strict', collapseMin: 3, global: false } as const;
    const judged = { rules: [], matcher: referenceMatcher([]) };
    const found = suggest(judged, [seen('box', 'x.com'), seen('gone', 'y.com')], options);
    const { document, parts, refused } = suggestionOf(found, scopes, new Set(['box']), null);
    t.strictSame(documentText(document), {
      version: 1,
      sandboxes: { box: [{ allow: 'x.com:443' }] },
    });
    t.match([...parts.values()], [[{ seen: [{ sandbox: 'box' }] }]]);
    t.match(refused, [{ seen: { sandbox: 'gone' }, why: 'its sandbox is gone' }]);

    const facts = { id: null, decision: 'allow', protocols: ['tcp'], at: '' } as const;
    const whole: PolicyDocument = {
      preset: 'allow-all',
      presetRules: null,
      filesystem: null,
      presetFilesystem: null,
      rules: [
        { ...facts, sandbox: null, resources: parseResources('**,a.com') },
        { ...facts, sandbox: 'box', resources: parseResources('**') },
      ],
      sandboxes: [{ name: 'box', at: '' }],
    };
    const replaced = suggestionOf(found, scopes, new Set(['box']), whole);
    t.strictSame(documentText(replaced.document), {
      version: 1,
      preset: 'deny-all',
      rules: [{ allow: 'a.com' }],
      sandboxes: { box: [{ allow: 'x.com:443' }] },
    });
    const own = [
      { id: 'default-x', decision: 'allow' as const, resources: parseResources('**,b.com') },
    ];
    const changed = { ...whole, preset: 'balanced', presetRules: own } as const;
    t.match(documentText(suggestionOf(found, scopes, new Set(), changed).document), {
      preset: 'balanced',
      preset_rules: { 'default-x': 'b.com' },
    });
  },
);
