import t from 'tap';
import { KIT_PATHS_MAX } from '../../src/base/limits.ts';
import {
  faultOfKitEntry,
  KIT_PHASES,
  type Kit,
  type KitHolder,
  rulesOfKit,
} from '../../src/policy/kit.ts';
import { inForce, SEMANTICS } from '../../src/policy/precedence.ts';

const HOLDER: KitHolder = { name: 'docs', number: 7, phase: 'runtime' };
const NONE = { allow: [], deny: [] };
const KIT: Kit = {
  name: 'docs-kit',
  install: { allow: ['*'], deny: ['internal.example'] },
  runtime: {
    allow: [
      'api.example.com:443',
      { hosts: ['api.github.com'], methods: ['GET', 'HEAD'], paths: ['/repos/**'] },
      { hosts: ['*.cdn.example', 'localhost:9'] },
    ],
    deny: ['telemetry.example.com', { hosts: ['**.github.com'], methods: ['DELETE'] }],
  },
};

t.test('rules of all phases, of which those of the others wait', async (t) => {
  const told = rulesOfKit(KIT, HOLDER).map(({ resources, ...rule }) => ({
    ...rule,
    resources: resources.map(({ text }) => text),
  }));
  t.strictSame(told, [
    {
      id: 'kit:docs:install',
      name: 'kit:docs',
      decision: 'allow',
      protocols: ['tcp'],
      awaits: 'install',
      resources: ['**'],
    },
    {
      id: 'kit:docs:install:deny',
      name: 'kit:docs:deny',
      decision: 'deny',
      protocols: ['tcp', 'udp'],
      awaits: 'install',
      resources: ['internal.example'],
    },
    {
      id: 'kit:docs:runtime',
      name: 'kit:docs',
      decision: 'allow',
      protocols: ['tcp'],
      resources: ['api.example.com:443', '*.cdn.example', 'localhost:9'],
    },
    {
      id: 'kit:docs:runtime:http:2',
      name: 'kit:docs',
      decision: 'allow',
      protocols: ['tcp'],
      http: { methods: ['GET', 'HEAD'], paths: ['/repos/**'] },
      resources: ['api.github.com'],
    },
    {
      id: 'kit:docs:runtime:deny',
      name: 'kit:docs:deny',
      decision: 'deny',
      protocols: ['tcp', 'udp'],
      resources: ['telemetry.example.com'],
    },
    {
      id: 'kit:docs:runtime:deny:http:2',
      name: 'kit:docs:deny',
      decision: 'deny',
      protocols: ['tcp'],
      http: { methods: ['DELETE'], paths: ['/**'] },
      resources: ['**.github.com'],
    },
  ]);
});

t.test('each phase has its own rules in force, and all of them', async (t) => {
  for (const phase of KIT_PHASES) {
    const rules = rulesOfKit(KIT, { ...HOLDER, phase }).map((rule) => ({
      ...rule,
      source: 'kit' as const,
    }));
    t.strictSame(
      inForce(rules, null, SEMANTICS).map(({ id }) => id),
      rules.map(({ id }) => id).filter((id) => id.startsWith(`kit:docs:${phase}`)),
    );
  }
  t.strictSame(rulesOfKit({ name: 'none', install: NONE, runtime: NONE }, HOLDER), []);
});

t.test('an id fits whatever the sandbox is called', async (t) => {
  const name = 'x'.repeat(63);
  for (const { id } of rulesOfKit(KIT, { ...HOLDER, name })) {
    t.ok(id.length <= 64, id);
    t.match(id, /^kit:#7:/);
  }
});

t.test('a kit has no more paths than a request can be held against', async (t) => {
  const of = (count: number): Kit => {
    const entry = { hosts: ['a.com'], methods: ['GET'] };
    const paths = Array.from({ length: 64 }, (_, i) => `/p${i}`);
    const whole = Array.from({ length: Math.floor(count / 64) }, () => ({ ...entry, paths }));
    const rest = Array.from({ length: count % 64 }, () => entry);
    return { name: 'k', install: { allow: whole, deny: [] }, runtime: { allow: [], deny: rest } };
  };
  t.equal(rulesOfKit(of(KIT_PATHS_MAX), HOLDER).length, KIT_PATHS_MAX / 64);
  t.throws(() => rulesOfKit(of(KIT_PATHS_MAX + 1), HOLDER), {
    code: 'SALLYPORT_POLICY_INVALID',
    message: `kit "k": it has ${KIT_PATHS_MAX + 1} paths; at most ${KIT_PATHS_MAX} fit`,
  });
});

t.test('every fault is named with its place', async (t) => {
  const kit: Kit = {
    ...KIT,
    install: { allow: ['good.com', 'a..b', 'x.com,y.com', '0.0.0.0/0'], deny: ['0.0.0.0/0'] },
    runtime: {
      allow: [
        { hosts: ['*.com'], methods: ['GET'] },
        { hosts: ['a.com'], methods: ['GET', 'ANY'] },
        { hosts: ['a.com'], methods: ['GET'], paths: ['repos'] },
        { hosts: ['10.0.0.1'], methods: ['GET'] },
      ],
      deny: [],
    },
  };
  t.throws(() => rulesOfKit(kit, HOLDER), {
    code: 'SALLYPORT_POLICY_INVALID',
    message: new RegExp(
      [
        '^kit "docs-kit": install\\.allow element 2: "a\\.\\.b" is not a host name.*',
        'install\\.allow element 3: "x\\.com,y\\.com" is a list; write its elements one by one',
        'install\\.allow element 4: .*a range of all addresses.*',
        'runtime\\.allow element 1: "\\*\\.com" is a pattern; .*',
        'runtime\\.allow element 2: ANY stands alone',
        'runtime\\.allow element 3: path "repos": it begins with /',
        'runtime\\.allow element 4: 10\\.0\\.0\\.1: an HTTP rule names hosts.*$',
      ].join('; '),
    ),
  });
  t.equal(faultOfKitEntry('deny', { hosts: ['*.com'], methods: ['GET'] }), null);
  t.equal(faultOfKitEntry('allow', '*:443'), null);
  t.match(faultOfKitEntry('allow', 'localhost'), /port by port/);
  t.equal(faultOfKitEntry('allow', '[2001:db8::1]:443'), null);
});
