// Settings from a file, the environment and options: what wins, what is refused and how it is named,
// and the file itself. Covers src/control/settings/keys.ts, src/control/settings/checks.ts and
// src/control/settings/file.ts.
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { instanceOptions } from '../../../src/control/settings/effect.ts';
import { settingsSchema } from '../../../src/control/settings/file.ts';
import {
  type GivenValues,
  isLive,
  readValue,
  SETTING_KEYS,
  SETTINGS,
  type SettingKey,
  variableOf,
} from '../../../src/control/settings/keys.ts';
import { removeOverride, Settings } from '../../../src/control/settings/settings.ts';
import { temporaryFolder } from '../../helpers/control.ts';

/** A value for each key, none of them the default; texts as a variable has them. */
const OTHER: { readonly [K in SettingKey]?: string } = {
  'daemon.listen': '127.0.0.1:8080',
  'daemon.workers': '3',
  'daemon.defaultSandbox': 'box',
  'daemon.drainTimeout': '2m',
  'daemon.logLevel': 'warn',
  'daemon.apiListen': '127.0.0.1:9000',
  'daemon.apiTokenFile': '/run/token',
  'governance.source': '/etc/governance.json',
  'governance.tokenFile': '/run/token',
  'governance.tokenCommand': 'a b',
  'governance.keys': '/etc/one.pem,/etc/two.pem',
  'governance.teams': 'a,b',
  'governance.interval': '5m',
  'governance.grace': '1h',
  'network.addressGuard': 'docker',
  'network.bypass': 'a.com,[2001:db8::1]:443',
  'network.clientCertificates': 'a.com=/run/cert.pem,/run/key.pem',
  'network.deny': 'inside',
  'network.dnsServers': '1.1.1.1,9.9.9.9:53',
  'network.forwardedFor': 'true',
  'network.via': 'true',
  'policy.conflicts': 'refuse',
  'policy.defaults': 'removable',
  'policy.kitAllows': 'inactive',
  'policy.localDenies': 'active',
  'policy.preset': 'balanced',
  'secrets.keyStore': 'keychain',
};

const NOW_MS = Date.UTC(2026, 0, 1);
const KEYS = SETTING_KEYS.filter((key) => key in OTHER);

function fileOf(t: Test, content: unknown = undefined): string {
  const path = join(temporaryFolder(t), 'settings.json');
  if (content !== undefined) {
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  }
  return path;
}

function load(path: string, env: Record<string, string> = {}, given: GivenValues = {}): Settings {
  return Settings.load({ path, env, given });
}

t.test('without anything, every setting has its default', async (t) => {
  for (const record of load(fileOf(t)).records()) {
    t.strictSame(record.value, record.default, record.key);
    t.equal(record.source, 'default');
    t.equal(record.requires_restart, !isLive(record.key));
  }
});

t.test('option, variable, file, default: the first that gives a value wins', async (t) => {
  const values = Object.fromEntries(KEYS.map((key) => [key, readValue(key, OTHER[key] ?? '')]));
  const layers = ['option', 'envvar', 'override'] as const;
  const chosen = fc.record(
    Object.fromEntries(KEYS.map((key) => [key, fc.subarray<string>([...layers])])),
  );
  const path = fileOf(t);
  const winnerOf = (given: readonly string[] = []): string =>
    layers.find((layer) => given.includes(layer)) ?? 'default';
  const property = fc.property(chosen, (wanted) => {
    const within = (layer: (typeof layers)[number]): SettingKey[] =>
      KEYS.filter((key) => wanted[key]?.includes(layer));
    const valuesOf = (keys: readonly SettingKey[]): GivenValues =>
      Object.fromEntries(keys.map((key) => [key, values[key]]));
    writeFileSync(path, JSON.stringify(valuesOf(within('override'))));
    const env = within('envvar').map((key) => [variableOf(key), OTHER[key] ?? '']);
    const settings = load(path, Object.fromEntries(env), valuesOf(within('option')));
    const expected = SETTING_KEYS.map((key) => {
      const source = winnerOf(wanted[key]);
      return { key, source, value: source === 'default' ? SETTINGS[key].fallback : values[key] };
    });
    const told = settings.records().map(({ key, source, value }) => ({ key, source, value }));
    const isTold = isDeepStrictEqual(told, expected);
    return isTold && told.every(({ key, value }) => settings.values[key] === value);
  });
  fc.assert(property, { numRuns: 200 });
  const settings = load(path, { SALLYPORT_NETWORK_VIA: '' });
  t.equal(settings.record('network.via').source !== 'envvar', true, 'an empty variable is none');
});

t.test('faults are named with their place, all of them, and the nearest key', async (t) => {
  const path = fileOf(t, {
    'daemon.listn': '127.0.0.1:1',
    colour: 'red',
    'daemon.workers': 64,
    'network.via': 'yes',
    'network.bypass': ['good.com', 'b..c', 'x.com,y.com'],
    'network.upstreamCa': ['relative.pem'],
    'policy.preset': 'open',
    'daemon.drainTimeout': '25h',
  });
  const places = [
    'daemon.listn: there is no setting "daemon.listn"; is daemon.listen meant?',
    'colour: there is no setting "colour"; ',
    'daemon.workers: write a whole number from 0 to 63',
    'network.via: write true or false',
    'network.bypass, element 2: "b..c" is not a host name',
    'network.bypass, element 3: "x.com,y.com" is a list',
    'network.upstreamCa, element 1: "relative.pem" is no absolute path',
    'policy.preset: Invalid option',
    'daemon.drainTimeout: a day (24h) is the most',
  ];
  try {
    load(path);
    t.fail('it must be refused');
  } catch (error) {
    t.match(error, { code: 'SALLYPORT_SETTING_INVALID' });
    const message = `${error instanceof Error ? error.message : ''}; `;
    for (const place of places) t.ok(message.includes(`${path}: ${place}`), `${place}\n${message}`);
  }
  const none = fileOf(t);
  const refused = (env: Record<string, string>, given: GivenValues, message: RegExp) =>
    t.throws(() => load(none, env, given), { code: 'SALLYPORT_SETTING_INVALID', message });
  refused({ SALLYPORT_NETWORK_VIA: '1' }, {}, /^SALLYPORT_NETWORK_VIA: write true or false$/);
  refused(
    { SALLYPORT_NETWORK_ADRESS_GUARD: 'strict', SALLYPORT_DAEMON_X: '1' },
    {},
    /SALLYPORT_NETWORK_ADRESS_GUARD is no setting; is SALLYPORT_NETWORK_ADDRESS_GUARD meant\?; .*SALLYPORT_DAEMON_X is no setting$/,
  );
  refused({ SALLYPORT_NETWORK_BYPASS: '["a.com"' }, {}, /^SALLYPORT_NETWORK_BYPASS: .*array/);
  refused({}, { 'daemon.listen': 'here' }, /^--listen: "here" is no HOST:PORT/);
  refused({}, { 'network.bypass': ['*'] }, /^--bypass, element 1: a lone \* is ambiguous/);
  load(none, { SALLYPORT_TOKEN: 'x', SALLYPORT_KEY_FILE: '/k', SALLYPORT_PROGRAM: 'sbx' });
});

t.test('what is no file of settings is refused', async (t) => {
  for (const [content, message] of [
    ['{"network.via":', /settings\.json: .*JSON/],
    ['[]', /holds no JSON object/],
    ['null', /holds no JSON object/],
    ['"x"', /holds no JSON object/],
    ['', /settings\.json: /],
    ['{"__proto__":{"network.via":true}}', /there is no setting "__proto__"/],
    ['{"network.via":null}', /network\.via: write true or false/],
  ] as const) {
    const path = fileOf(t, content);
    t.throws(() => load(path), { code: 'SALLYPORT_SETTING_INVALID', message }, content);
  }
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'settings.json'));
  t.throws(() => load(join(folder, 'settings.json')), { message: /cannot be read: EISDIR/ });
  t.equal(load(fileOf(t, { $schema: './settings.schema.json' })).values['network.via'], false);
});

t.test('a change is written whole, and for the user alone', async (t) => {
  const path = fileOf(t, { $schema: 'x', 'daemon.workers': 2 });
  const next = load(path).with('network.via', true);
  t.equal(load(path).values['network.via'], false, 'not before it is saved');
  next.save();
  t.strictSame(JSON.parse(readFileSync(path, 'utf8')), {
    $schema: 'x',
    'daemon.workers': 2,
    'network.via': true,
  });
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.strictSame(readdirSync(join(path, '..')), ['settings.json'], 'no draft is left');
  t.throws(() => next.with('network.via', 'maybe'), { message: /^network\.via: write true/ });
});

t.test('a key is taken out whatever else is wrong', async (t) => {
  const path = fileOf(t, { 'daemon.listn': 1, 'policy.defaults': 'x' });
  t.throws(() => load(path).with('network.via', true), { message: /daemon\.listn/ });
  t.equal(removeOverride(path, 'daemon.listn'), true);
  t.throws(() => load(path), { message: /policy\.defaults/ });
  t.equal(removeOverride(path, 'policy.defaults'), true);
  t.equal(removeOverride(path, 'network.via'), false, 'it was not there');
  t.strictSame(JSON.parse(readFileSync(path, 'utf8')), {});
  t.throws(() => removeOverride(path, 'network.vai'), {
    code: 'SALLYPORT_NOT_FOUND',
    message: 'there is no setting "network.vai"; is network.via meant?',
  });
});

t.test('what settings come to, put together', async (t) => {
  const token = join(temporaryFolder(t), 'token');
  writeFileSync(token, 'secret-of-the-api\n', { mode: 0o600 });
  const { options } = instanceOptions(
    load(
      fileOf(t, {
        'daemon.apiListen': '127.0.0.1:9000',
        'daemon.apiTokenFile': token,
        'network.bypass': ['A.com:443'],
        'policy.conflicts': 'refuse',
      }),
    ).values,
    NOW_MS,
  );
  t.match(options, {
    listen: '127.0.0.1:3128',
    api: { listen: '127.0.0.1:9000', token: 'secret-of-the-api' },
    bypass: ['a.com:443'],
    semantics: {
      conflicts: 'refuse',
      defaults: 'fixed',
      kitAllows: 'active',
      localDenies: 'inactive',
    },
    addressGuard: 'strict',
    keyStore: 'auto',
  });
  t.equal(options.preset, undefined);
  t.ok(options.workers >= 1);
  const alone = load(fileOf(t, { 'daemon.apiListen': '127.0.0.1:9000' })).values;
  t.throws(() => instanceOptions(alone, NOW_MS), {
    message: 'daemon.apiListen needs daemon.apiTokenFile',
  });
  const missing = { 'daemon.apiListen': '127.0.0.1:9000', 'daemon.apiTokenFile': '/none/here' };
  t.throws(() => instanceOptions(load(fileOf(t, missing)).values, NOW_MS), {
    message: '/none/here cannot be read',
  });
  chmodSync(token, 0o644);
  const shared = { ...missing, 'daemon.apiTokenFile': token };
  t.throws(() => instanceOptions(load(fileOf(t, shared)).values, NOW_MS), {
    code: 'SALLYPORT_SETTING_INVALID',
    message: `others may use the token in ${token}; run chmod 600 ${token}`,
  });
});

t.test('what is published is what holds', async (t) => {
  const published = JSON.parse(readFileSync('docs/settings.schema.json', 'utf8'));
  t.strictSame(published, JSON.parse(JSON.stringify(settingsSchema())));
  t.equal(published.additionalProperties, false);
  const rows = readFileSync('docs/settings.md', 'utf8').matchAll(
    /^\| `([\w.]+)` \| (\w+) \| `(.*?)` \| `(\w+)` \| (?:`(--[\w-]+)`)? *\| (at once|next start) \| (.+) \|$/gm,
  );
  const documented = [...rows].map(([, ...cells]) => cells);
  t.strictSame(
    documented,
    SETTING_KEYS.map((key) => {
      const { type, fallback, option, description } = SETTINGS[key];
      const holds = isLive(key) ? 'at once' : 'next start';
      const flag = option === '' ? undefined : option;
      return [key, type, JSON.stringify(fallback), variableOf(key), flag, holds, description];
    }),
    'run scripts/write-settings-doc.ts',
  );
});
