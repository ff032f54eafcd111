// Kit files of every version, and what is wrong with them. Covers src/documents/kit-schema.ts.
import t from 'tap';
import { SallyportError } from '../../src/base/errors.ts';
import { mergeKits, readKit } from '../../src/documents/kit.ts';

/** The faults as `line:column words`. */
function faultsOf(text: string): string[] {
  try {
    readKit(text, 'k.yaml');
    return [];
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    return error.message.split('\n').map((line) => line.replace(/^k\.yaml:/, ''));
  }
}

t.test('version 3: phases, hosts, and in @2 requests', async (t) => {
  const { kit, ignored } = readKit(
    `# syntax=docker/sandbox-kit:3
schemaVersion: "3"
kind: mixin
displayName: Docs
capabilities:
  - type: com.docker.sandbox/lifecycle@1
    config: {startup: [{command: ["true"]}]}
  - type: com.docker.sandbox/network-policy@2
    config:
      install:
        allow: ["*"]
      runtime:
        allow:
          - api.example.com:443
          - {hosts: [api.github.com], methods: [GET], paths: ["/repos/**"]}
        deny: [telemetry.example.com]
`,
    '/kits/docs.yaml',
  );
  t.strictSame(kit, {
    name: 'Docs',
    install: { allow: ['*'], deny: [] },
    runtime: {
      allow: [
        'api.example.com:443',
        { hosts: ['api.github.com'], methods: ['GET'], paths: ['/repos/**'] },
      ],
      deny: ['telemetry.example.com'],
    },
  });
  t.strictSame(ignored, ['com.docker.sandbox/lifecycle@1']);
  const one = `capabilities: [{type: com.docker.runtime/network-policy@1, config: {runtime: {allow: [a.com]}}}]`;
  t.match(readKit(one, 'k.yaml').kit, { name: 'k', runtime: { allow: ['a.com'] } });
  const none = readKit('schemaVersion: "3"\nkind: mixin\n', 'plain.yaml');
  t.match(none.kit, { name: 'plain', install: { allow: [] }, runtime: { allow: [], deny: [] } });
});

t.test('versions 2 and 1 have one list, which holds in both phases', async (t) => {
  const two = readKit(
    'schemaVersion: "2"\nname: two\npermissions:\n  network:\n    allow: ["*.npmjs.org"]\n    deny: [x.com]\n  files: {}\n',
    'k.yaml',
  );
  const lists = { allow: ['*.npmjs.org'], deny: ['x.com'] };
  t.strictSame(two, {
    kit: { name: 'two', install: lists, runtime: lists },
    ignored: ['permissions.files'],
  });
  const one = readKit(
    'name: one\nnetwork:\n  allowedDomains: ["*.npmjs.org"]\n  deniedDomains: [x.com]\n  serviceDomains: {a: b}\n',
    'k.yaml',
  );
  t.strictSame(one, {
    kit: { name: 'one', install: lists, runtime: lists },
    ignored: ['network.serviceDomains'],
  });
});

t.test('the rules alone, as YAML and as JSON', async (t) => {
  const expected = {
    name: 'own',
    install: { allow: ['registry.npmjs.org'], deny: [] },
    runtime: { allow: [], deny: ['x.com'] },
  };
  const yaml = 'name: own\ninstall: {allow: [registry.npmjs.org]}\nruntime: {deny: [x.com]}\n';
  t.strictSame(readKit(yaml, 'k').kit, expected);
  const json =
    '{"name":"own","install":{"allow":["registry.npmjs.org"]},"runtime":{"deny":["x.com"]}}';
  t.strictSame(readKit(json, 'k').kit, expected);
});

t.test('every fault has its line and column', async (t) => {
  t.strictSame(
    faultsOf(`capabilities:
  - type: com.docker.sandbox/network-policy@2
    config:
      setup: {}
      install:
        allow:
          - a..b
          - good.com
          - {hosts: ["*.com"], methods: [GET]}
          - {hosts: [], methods: [get]}
        denies: [x.com]
      runtime:
        deny: [7]
`),
    [
      '4:7: there is no phase "setup"',
      '10:13: it must be a host, or hosts with methods and paths',
      '11:9: there is no field "denies"',
      '13:16: it must be a host, or hosts with methods and paths',
    ],
    'of the form first',
  );
  t.match(
    faultsOf(
      'runtime:\n  allow:\n    - a..b\n    - good.com\n    - {hosts: ["*.com"], methods: [GET]}\n',
    ),
    [/^3:7: "a\.\.b" is not a host name/, /^5:7: "\*\.com" is a pattern/],
  );
  for (const [text, fault] of [
    ['{}', '1:1: it is no kit'],
    ['- a', '1:1: it is no kit'],
    ['capabilities: 5', '1:15: it must be a list'],
    [
      'capabilities: [{type: com.docker.sandbox/network-policy@9}]',
      '1:23: this program knows network-policy@1 and @2',
    ],
    [
      'capabilities: [{type: com.docker.sandbox/network-policy@1}]',
      '1:16: it must have rules for install or runtime',
    ],
    [
      'capabilities: [{type: com.docker.sandbox/network-policy@1, config: {runtime: {allow: [{hosts: [a.com]}]}}}]',
      '1:87: Invalid input: expected string',
    ],
    ['permissions: {network: {allow: a.com}}', '1:32: Invalid input: expected array'],
    ['permissions: {network: {permit: []}}', '1:25: there is no field "permit"'],
    ['network: {allowedDomains: [a..b]}', '1:28: "a..b" is not a host name'],
    ['network: {deniedDomains: x}', '1:26: Invalid input: expected array'],
    [`runtime: {allow: ["$${'{'}{ kit.args.host }}"]}`, '1:19: '],
    ['permissions: 5', '1:14: it must have names'],
    ['network: [a.com]', '1:10: it must have names'],
    ['permissions: {}\nnetwork: {}', '2:1: it has permissions and network'],
    ['network: {}\nruntime: {}', '2:1: it has network and runtime'],
    ['runtime: {allow: [a.com]}\nother: {}', '2:1: there is no phase "other"'],
  ] as const) {
    const [first = ''] = faultsOf(text);
    t.ok(first.startsWith(fault), `${text}\n${first}`);
  }
  const twice =
    'capabilities:\n  - {type: com.docker.sandbox/network-policy@1, config: {}}\n  - {type: com.docker.sandbox/network-policy@2, config: {}}\n';
  t.strictSame(faultsOf(twice), ['3:5: there is a network policy already']);
});

t.test('several kits: what one denies, no other allows', async (t) => {
  const [a, b] = [
    readKit('name: a\nruntime: {allow: [x.com, y.com]}', 'a').kit,
    readKit('name: b\nruntime: {allow: [y.com], deny: [x.com]}\ninstall: {allow: ["*"]}', 'b').kit,
  ];
  t.strictSame(mergeKits([a, b]), {
    name: 'a+b',
    install: { allow: ['*'], deny: [] },
    runtime: { allow: ['x.com', 'y.com'], deny: ['x.com'] },
  });
});
