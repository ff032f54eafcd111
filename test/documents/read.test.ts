// A policy file is read whole or refused whole, and every fault has its line and column. Covers
// src/documents/yaml.ts, src/documents/schema.ts and src/documents/document.ts too.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { SallyportError } from '../../src/base/errors.ts';
import { DOCUMENT_BYTES_MAX, DOCUMENT_FAULTS_MAX } from '../../src/base/limits.ts';
import { documentRules, ScopeTable } from '../../src/documents/document.ts';
import { readDocument } from '../../src/documents/read.ts';
import { documentJsonSchema } from '../../src/documents/schema.ts';
import { presetRules } from '../../src/policy/presets.ts';

/** The faults as `line:column words`. */
function faultsOf(text: string): string[] {
  try {
    readDocument(text, 'p.yaml');
    return [];
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    return error.message.split('\n').map((line) => line.replace(/^p\.yaml:/, ''));
  }
}

const GOOD = `version: 1
preset: balanced
rules:
  - allow: [a.com, "*.B.com:443"]
    id: web
  - deny: ads.example.com,track.example.com
    protocols: [udp]
sandboxes:
  box:
    - allow: api.com
      methods: [post, GET]
      paths: [/a/**]
  empty: []
`;

t.test('what a file says', async (t) => {
  const document = readDocument(GOOD, 'p.yaml');
  t.match(document, { preset: 'balanced', presetRules: null });
  t.strictSame(document.sandboxes, [
    { name: 'box', at: 'p.yaml:9:3' },
    { name: 'empty', at: 'p.yaml:13:3' },
  ]);
  const scopes = new ScopeTable();
  const rules = documentRules(document, scopes).slice(presetRules('balanced').length);
  t.strictSame(
    rules.map(({ id, decision, scope, protocols, resources, http }) => ({
      ...{ id, decision, scope, protocols, http },
      resources: resources.map(({ text }) => text),
    })),
    [
      {
        ...{ id: 'web', decision: 'allow', scope: 0, protocols: ['tcp'], http: undefined },
        resources: ['a.com', '*.b.com:443'],
      },
      {
        ...{ id: 'p.yaml:6:5', decision: 'deny', scope: 0, protocols: ['udp'], http: undefined },
        resources: ['ads.example.com', 'track.example.com'],
      },
      {
        ...{ id: 'p.yaml:10:7', decision: 'allow', scope: 1, protocols: ['tcp'] },
        http: { methods: ['GET', 'POST'], paths: ['/a/**'] },
        resources: ['api.com'],
      },
    ],
  );
  t.equal(scopes.nameOf(1), 'box');
  t.match(readDocument(JSON.stringify({ version: 1, rules: [{ deny: '**' }] }), 'p'), {
    preset: null,
    rules: [{ decision: 'deny', at: 'p:1:23' }],
  });
  const own = readDocument(
    'version: 1\npreset: allow-all\npreset_rules: {default-x: [a.com]}',
    'p',
  );
  t.match(documentRules(own, scopes), [{ id: 'default-x', resources: [{ text: 'a.com' }] }]);
});

t.test('every fault at once, each where it is', async (t) => {
  const text = `version: 1
preset: lax
colour: red
preset_rules:
  mine: a.com
rules:
  - allow: [a.com, "*"]
    id: x
  - allow: ok.com,https://x.com
    id: x
  - deny: a.com
    allow: b.com
  - allow:
      - 10.0.0.0/8
      - localhost
    methods: [BREW]
    paths: [a]
  - {deny: b.com, paths: [/x]}
  - {deny: b.com, methods: [get], protocols: [udp]}
  - 5
sandboxes:
  box: a.com
`;
  t.strictSame(
    faultsOf(text).map((fault) => fault.slice(0, 64)),
    [
      '2:9: preset: Invalid option: expected one of "allow-all"|"balanced"|"deny-all"',
      '3:1: there is no field "colour"',
      '5:3: preset_rules.mine: it must begin with default-',
      '7:20: "*": a lone * is ambiguous; write ** for everything',
      '9:12: element 2 "https://x.com": it is a URL; write the host alone',
      '11:5: rules[2]: a rule has either allow or deny',
      '14:9: 10.0.0.0/8: an HTTP rule names hosts, not addresses',
      '15:9: "localhost": the loopback is allowed port by port; write l',
      '17:12: "BREW" is no method; there are GET, HEAD, POST, PUT, PATC',
      '18:26: a path needs a method: name one, or ANY',
      '19:5: an HTTP rule is for tcp alone',
      '20:5: rules[6]: Invalid input: expected object, received number',
      '22:8: sandboxes.box: Invalid input: expected array, received str',
    ].map((fault) => fault.slice(0, 64)),
  );
  t.strictSame(faultsOf('version: 1\nrules:\n- {allow: a.com, id: x}\n- {deny: b.com, id: x}'), [
    '4:3: the id "x" stands at p.yaml:3:3 already',
  ]);
  t.strictSame(faultsOf('version: 1\npreset_rules: {default-x: a.com}'), [
    '2:1: it needs preset beside it',
  ]);
});

t.test('filesystem rules, and their faults', async (t) => {
  const text = `version: 1
preset: deny-all
filesystem:
  - allow: ~/src/**
  - {allow: [/data/*, /data/*], access: [write, read], sandbox: box}
  - {deny: ~/.ssh}
preset_filesystem:
  default-fs-read-allow-all: /**
`;
  const { filesystem, presetFilesystem, sandboxes } = readDocument(text, 'p');
  t.match(filesystem, [
    { decision: 'allow', accesses: ['read'], patterns: [{ text: '~/src/**' }], sandbox: null },
    { accesses: ['read', 'write'], patterns: [{ text: '/data/*' }], sandbox: 'box', at: 'p:5:5' },
    { decision: 'deny', accesses: ['read', 'write'], patterns: [{ text: '~/.ssh' }] },
  ]);
  t.equal(filesystem?.[1]?.patterns.length, 1);
  t.match(presetFilesystem, [{ id: 'default-fs-read-allow-all', patterns: [{ text: '/**' }] }]);
  t.strictSame(sandboxes, [], 'only filesystem rules of the sandbox are spoken of');
  const bad = `version: 1
filesystem:
  - allow: [/ok, relative, "/a\u0001"]
  - {allow: /a, deny: /b}
  - {deny: ../x, access: [execute]}
preset_filesystem: {default-fs-other: /x}
`;
  const faults = faultsOf(bad);
  t.ok(
    faults.some((fault) => fault.startsWith('4:5: filesystem[1]: a rule has either')),
    `${faults}`,
  );
  t.ok(
    faults.some((fault) => fault.startsWith('5:27: filesystem[2].access[0]: ')),
    `${faults}`,
  );
  t.ok(
    faults.some((fault) => fault.startsWith('6:21: preset_filesystem')),
    `${faults}`,
  );
  const paths = faultsOf(
    'version: 1\nfilesystem:\n  - allow: [/ok, relative, "/a\\x01"]\n  - deny: ../x\n',
  );
  t.strictSame(
    paths.map((fault) => fault.slice(0, 16)),
    ['3:18: "relative"', '3:28: "/a\\u0001"', '4:11: "../x": it'],
  );
  t.strictSame(faultsOf('version: 1\npreset_filesystem: {}'), [
    '2:1: it needs preset beside it',
    '2:1: it needs filesystem beside it',
  ]);
});

t.test('YAML that could mean something else than it looks like is refused', async (t) => {
  for (const [text, fault] of [
    ['', '1:1: Invalid input: expected object'],
    ['[', '1:2: Flow sequence'],
    ['version: 2', '1:10: version: this program knows version 1'],
    ['version: 1\nversion: 1', '2:1: "version" stands twice'],
    ['version: 1\nrules: &a []', '2:11: an anchor, &a'],
    ['version: 1\nrules: *a', '2:8: an alias'],
    ['x: &x {}\ny: *x', '1:7: an anchor'],
    ['version: !!int "1"', '1:16: a tag, tag:yaml.org,2002:int'],
    ['version: 1\n---\nversion: 1', '2:1: a second document begins'],
    [
      '%YAML 1.1\n---\nversion: 1\nrules:\n- deny: a.com\n  <<: {protocols: [udp]}',
      '1:1: it is not of version 1.2',
    ],
    ['? [a]\n: 1', '1:3: With stringKeys, all keys must be strings'],
    ['['.repeat(10_000), 'it is nested too deeply'],
    [`rules: ${'['.repeat(40)}${']'.repeat(40)}`, 'it is nested too deeply'],
    [`version: 1\nrules: [{id: DEFAULT, deny: a}]`, '2:14: rules[0].id: it must be of a-z'],
    [`version: 1\nrules: [{id: default-x, deny: a}]`, 'not begin with default-'],
  ] as const) {
    t.match(faultsOf(text).join('\n'), fault, text.slice(0, 40));
  }
  const long = `version: 1\nrules:\n${'- allow: "*"\n'.repeat(DOCUMENT_FAULTS_MAX + 7)}`;
  const faults = faultsOf(long);
  t.equal(faults.length, DOCUMENT_FAULTS_MAX + 1);
  t.equal(faults.at(-1), 'and 7 more');
  t.throws(() => readDocument(' '.repeat(DOCUMENT_BYTES_MAX + 1), 'p'), {
    code: 'SALLYPORT_POLICY_TOO_LARGE',
  });
});

t.test('the published schema is the one that files are read by', async (t) => {
  const published = JSON.parse(readFileSync('docs/policy.schema.json', 'utf8'));
  t.strictSame(published, JSON.parse(JSON.stringify(documentJsonSchema())));
});
