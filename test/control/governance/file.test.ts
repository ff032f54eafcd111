// An organisation in a signed file or folder: what is taken, and everything that is not. Signatures
// are made by openssl, not by the code under test.
import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { governanceFile } from '../../../src/control/governance/file.ts';
import type { Word } from '../../../src/control/governance/source.ts';
import type { SyncRecord } from '../../../src/control/store.ts';
import { temporaryFolder } from '../../helpers/control.ts';
import { policyOf } from '../../helpers/organization.ts';

const NOW_MS = Date.UTC(2026, 0, 2);
const never = new AbortController().signal;

const keys = generateKeyPairSync('ed25519', {
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});
const stranger = generateKeyPairSync('ed25519', {
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});

function sign(file: string, privateKey = keys.privateKey): void {
  writeFileSync(`${file}.key`, privateKey);
  const words = ['pkeyutl', '-sign', '-rawin', '-inkey', `${file}.key`, '-in', file];
  execFileSync('openssl', [...words, '-out', `${file}.sig`]);
}

const POLICY = policyOf(1, [
  { decision: 'allow', resources: ['good.test'] },
  { decision: 'deny', resources: ['bad.test'] },
]);
const DOCUMENT = { version: 1, organization: 'my-org', serial: 7, policies: [POLICY] };

/** Writes a document with its signature. */
function put(file: string, document: object | string = DOCUMENT): string {
  writeFileSync(file, typeof document === 'string' ? document : JSON.stringify(document));
  sign(file);
  return file;
}

type Asked = {
  readonly last?: SyncRecord | null;
  readonly teams?: string[];
  readonly keys?: string[];
};

function ask(path: string, { last = null, teams = [], keys: trusted }: Asked = {}): Promise<Word> {
  const options = { path, keys: trusted ?? [keys.publicKey], teams, nowMs: () => NOW_MS };
  return governanceFile(options).fetch(last, never);
}

async function failure(t: Test, asking: Promise<unknown>): Promise<string> {
  const error = await asking.catch((error: Error) => error);
  t.match(error, { code: /^SALLYPORT_(GOVERNANCE_FAILED|POLICY_INVALID)$/ });
  return error instanceof Error ? error.message : 'none';
}

const digestOf = (file: string): string =>
  createHash('sha256').update(readFileSync(file)).digest('hex');

t.test('a signed file', async (t) => {
  const file = join(temporaryFolder(t), 'organization.json');
  const more = { support_message: 'ask us', delegates: ['network'] };
  put(file, { ...DOCUMENT, ...more, expires_at: '2026-01-03T00:00:00Z' });
  t.match(await ask(file), {
    organization: 'my-org',
    supportMessage: 'ask us',
    delegates: ['network'],
    rules: [{ id: 'rule_1_1', policy: { name: 'policy 1' } }, { id: 'rule_1_2' }],
    serial: 7,
    digest: digestOf(file),
    expiresMs: NOW_MS + 86_400_000,
  });
  writeFileSync(`${file}.sig`, `${readFileSync(`${file}.sig`).toString('base64')}\n`);
  t.equal((await ask(file)).serial, 7, 'a signature in Base64');
  const both = [stranger.publicKey, keys.publicKey];
  t.equal((await ask(file, { keys: both })).serial, 7, 'one of several keys');
});

t.test('the document of docs/governance.md is one', async (t) => {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/governance.md'), 'utf8');
  const file = join(temporaryFolder(t), 'organization.json');
  put(file, /```json\n([^`]+)```/.exec(text)?.[1] ?? '');
  t.match(await ask(file), { organization: 'my-org', rules: [{ id: 'rule_ai' }] });
});

t.test('what is not signed by the organisation says nothing', async (t) => {
  const file = put(join(temporaryFolder(t), 'organization.json'));
  t.match(await failure(t, ask(file, { keys: [stranger.publicKey] })), 'not signed by a key');
  const signature = readFileSync(`${file}.sig`);
  writeFileSync(file, JSON.stringify({ ...DOCUMENT, serial: 8 }));
  t.match(await failure(t, ask(file)), 'not signed by a key', 'changed afterwards');
  sign(file, stranger.privateKey);
  t.match(await failure(t, ask(file)), 'not signed by a key', 'by somebody else');
  put(file);
  for (const bad of [signature.subarray(1), Buffer.alloc(0), Buffer.alloc(300), 'nonsense']) {
    writeFileSync(`${file}.sig`, bad);
    await failure(t, ask(file));
  }
  writeFileSync(`${file}.sig`, Buffer.alloc(64));
  t.match(await failure(t, ask(file)), 'not signed by a key');
});

t.test('serials only grow, and what has ended has ended', async (t) => {
  const file = put(join(temporaryFolder(t), 'organization.json'));
  const seen = (serial: number, digest: string): SyncRecord => ({
    source: file,
    syncedMs: NOW_MS,
    expiresMs: null,
    serial,
    digest,
  });
  const same = digestOf(file);
  t.equal((await ask(file, { last: seen(7, same) })).serial, 7);
  t.equal((await ask(file, { last: seen(6, 'other') })).serial, 7);
  t.match(await failure(t, ask(file, { last: seen(8, same) })), 'serial 7 is older than 8');
  t.match(await failure(t, ask(file, { last: seen(7, 'other') })), 'seen with other content');
  put(file, { ...DOCUMENT, expires_at: '2026-01-02T01:00:00+01:00' });
  t.match(await failure(t, ask(file)), 'has ended at 2026-01-02T01:00:00+01:00');
});

t.test('a folder: every file is one that was signed', async (t) => {
  const folder = temporaryFolder(t);
  const [one, two] = [join(folder, '10-network.json'), join(folder, '20-team.json')];
  writeFileSync(one, JSON.stringify(POLICY));
  const theirs = policyOf(2, [{ decision: 'deny', resources: ['t.test'] }], {
    scope: { teams: ['team-a'] },
  });
  writeFileSync(two, JSON.stringify(theirs));
  const files = { '10-network.json': digestOf(one), '20-team.json': digestOf(two) };
  const manifest = join(folder, 'governance.json');
  const { policies: _, ...rest } = DOCUMENT;
  put(manifest, { ...rest, files });
  t.match((await ask(folder)).rules, { length: 2 });
  t.match((await ask(folder, { teams: ['team-a'] })).rules, { length: 3 });
  const stray = join(folder, '30-stray.json');
  writeFileSync(stray, JSON.stringify(policyOf(3, [{ decision: 'allow', resources: ['**'] }])));
  t.match((await ask(folder)).rules, { length: 2 }, 'a file that is not named is not read');
  writeFileSync(two, JSON.stringify(policyOf(2, [])));
  t.match(await failure(t, ask(folder)), '20-team.json is not the file that was signed');
  put(manifest, { ...rest, files: { ...files, '40-gone.json': files['10-network.json'] } });
  t.match(await failure(t, ask(folder)), 'the file that was signed');
  for (const name of ['../10-network.json', '/etc/passwd', 'a/b.json', '.json']) {
    put(manifest, { ...rest, files: { [name]: files['10-network.json'] } });
    t.match(await failure(t, ask(folder)), 'the document cannot be read: files', name);
  }
});

t.test('files that are none, too long or no JSON', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'organization.json');
  t.match(await failure(t, ask(file)), `${file} cannot be read`);
  put(file, 'nonsense');
  t.match(await failure(t, ask(file)), 'the document is no JSON');
  writeFileSync(file, Buffer.from([0x22, 0xff, 0x22]));
  sign(file);
  t.match(await failure(t, ask(file)), 'the document is no JSON', 'not UTF-8');
  for (const [more, why] of [
    [{ version: 2 }, /version/],
    [{ serial: 0 }, /serial/],
    [{ organization: 'a\u202eb' }, /organization: it has a character/],
    [{ unknown: true }, /unknown/],
    [{ policies: [{ ...POLICY, type: 'cedar_v1' }] }, /Cedar/],
    [{ support_message: 'two\nlines' }, /support_message/],
    [{ support_message: 'x'.repeat(501) }, /support_message/],
  ] as const) {
    put(file, { ...DOCUMENT, ...more });
    t.match(await failure(t, ask(file)), why);
  }
  const pipe = join(folder, 'pipe.json');
  execFileSync('mkfifo', [pipe]);
  t.match(await failure(t, ask(pipe)), 'is no file', 'it does not wait for a writer');
  mkdirSync(join(folder, 'empty'));
  t.match(await failure(t, ask(join(folder, 'empty'))), 'governance.json cannot be read');
  put(file);
  symlinkSync(file, join(folder, 'link.json'));
  symlinkSync(`${file}.sig`, join(folder, 'link.json.sig'));
  t.equal((await ask(join(folder, 'link.json'))).serial, 7, 'links are how clusters give files');
});

t.test('keys that are none', async (t) => {
  const rsa = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  for (const key of ['', 'nonsense', rsa.publicKey]) {
    t.throws(() => ask('/x', { keys: [key] }), { code: 'SALLYPORT_USAGE' });
  }
  t.throws(() => ask('/x', { keys: [] }), { message: /needs --governance-key/ });
});
