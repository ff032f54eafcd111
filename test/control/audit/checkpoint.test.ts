// Checkpoints, from the key to the verdict: src/control/audit/checkpoint.ts, src/base/ed25519.ts, and
// what `audit verify` makes of them. Whoever has not got the key can make all hashes anew, and no
// signature.
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AUDIT_CHECKPOINT_RECORDS_MAX } from '../../../src/base/limits.ts';
import { Audit } from '../../../src/control/audit/audit.ts';
import { hashOf } from '../../../src/control/audit/chain.ts';
import { signerOf } from '../../../src/control/audit/checkpoint.ts';
import { auditFiles } from '../../../src/control/audit/files.ts';
import { verifyAudit } from '../../../src/control/audit/verify.ts';
import { resolvePaths } from '../../../src/control/paths.ts';
import { instanceOptions } from '../../../src/control/settings/effect.ts';
import { Settings } from '../../../src/control/settings/settings.ts';
import { say } from '../../cli/session.ts';
import { recordsIn } from '../../helpers/audit.ts';
import { outcomeOf, PLAIN_AUDIT, temporaryEnv, temporaryFolder } from '../../helpers/control.ts';

const failing = (error: Error | null): void => {
  throw error ?? new Error('recovered without a failure');
};

type Pair = { readonly key: string; readonly publicKey: string };

function keyPair(kind: 'ed25519' | 'ed448' = 'ed25519'): Pair {
  const { privateKey, publicKey } = generateKeyPairSync(kind as 'ed25519');
  return {
    key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    publicKey: String(publicKey.export({ type: 'spki', format: 'pem' })),
  };
}

/** Records outcomes in one life of a daemon. */
async function live(folder: string, key: string | null, counts: readonly number[]): Promise<void> {
  const audit = await Audit.open({ ...PLAIN_AUDIT, key, folder, onTrouble: failing });
  for (const count of counts) {
    await audit.record(Array.from({ length: count }, () => outcomeOf()));
  }
  await audit.close();
}

type Line = Record<string, unknown> & { readonly seq: number };

/** Changes records and makes all hashes anew, as somebody would who can write the file. */
function forge(folder: string, change: (line: Line) => Line | null): void {
  const [path = ''] = auditFiles(folder);
  let seq = 1;
  let prev = '0'.repeat(64);
  let text = '';
  for (const line of recordsIn<Line>(folder)) {
    const changed = change(line);
    if (changed === null) continue;
    const made = `${JSON.stringify({ ...changed, seq: seq++, prev })}\n`;
    prev = hashOf(made);
    text += made;
  }
  writeFileSync(path, text);
}

t.test('each life begins and ends with a signature, and so do many records', async (t) => {
  const folder = temporaryFolder(t);
  const { key, publicKey } = keyPair();
  await live(folder, key, [3]);
  await live(folder, key, [2 * AUDIT_CHECKPOINT_RECORDS_MAX + 5]);
  const signed = recordsIn<Line>(folder).filter((line) => line.action_type === 'checkpoint');
  const each = AUDIT_CHECKPOINT_RECORDS_MAX + 1;
  t.strictSame(
    signed.map(({ seq }) => seq),
    [4, 4 + each, 4 + 2 * each, 4 + 2 * each + 6],
  );
  t.match(await verifyAudit([folder], { publicKeys: [publicKey] }), {
    ok: true,
    checkpoints: 4,
    signed_to: signed.at(-1)?.seq,
  });
  t.match(await verifyAudit([folder]), { ok: true, checkpoints: 4, signed_to: null });
});

t.test('a new life signs what the last one left', async (t) => {
  const folder = temporaryFolder(t);
  const { key, publicKey } = keyPair();
  await live(folder, null, [3]);
  await live(folder, key, [1]);
  const [, , , , fifth] = recordsIn<Line>(folder);
  t.match(fifth, { action_type: 'checkpoint' });
  t.match(await verifyAudit([folder], { publicKeys: [publicKey] }), { ok: true, signed_to: 5 });
});

t.test('who makes the hashes anew without the key is found', async (t) => {
  const { key, publicKey } = keyPair();
  const other = keyPair();
  const evidence = { publicKeys: [publicKey] };
  const forged = async (t: Test, change: (line: Line) => Line | null): Promise<string> => {
    const folder = temporaryFolder(t);
    await live(folder, key, [5]);
    await live(folder, key, [5]);
    forge(folder, change);
    t.match(await verifyAudit([folder]), { ok: true }, 'the hashes alone are right');
    return folder;
  };
  const touched = await forged(t, (line) =>
    line.seq === 3 ? { ...line, host: 'innocent.test' } : line,
  );
  t.match(await verifyAudit([touched], evidence), {
    ok: false,
    broken: { seq: 6, line: 6, problem: /signature/ },
  });
  const removed = await forged(t, (line) => (line.action_type === 'checkpoint' ? null : line));
  t.match(await verifyAudit([removed], evidence), {
    ok: false,
    broken: { problem: /no checkpoint/ },
  });
  const signer = signerOf(other.key);
  const resigned = await forged(t, (line) =>
    line.action_type === 'checkpoint' ? { ...line, key: signer.key } : line,
  );
  t.match(await verifyAudit([resigned], evidence), { ok: false, signed_to: null });
});

t.test('a signature covers its whole line, and nothing may stand behind it', async (t) => {
  const folder = temporaryFolder(t);
  const { key, publicKey } = keyPair();
  await live(folder, key, [1]);
  const [path = ''] = auditFiles(folder);
  const text = readFileSync(path, 'utf8');
  for (const [from, to] of [
    ['"}\n', '","prev":"00"}\n'],
    ['"}\n', '","time":"2000-01-01T00:00:00.000Z"}\n'],
    ['"action_type":"checkpoint"', '"action_type": "checkpoint"'],
    [',"signature":"', ',"signature":"A'],
  ] as const) {
    const at = text.lastIndexOf(from);
    writeFileSync(path, text.slice(0, at) + to + text.slice(at + from.length));
    const found = await verifyAudit([path], { publicKeys: [publicKey] });
    t.match(found, { ok: false }, to);
  }
  writeFileSync(path, text);
  t.match(await verifyAudit([path], { publicKeys: [publicKey] }), { ok: true });
});

t.test('too many records at the end without a signature are a fault', async (t) => {
  const folder = temporaryFolder(t);
  const { key, publicKey } = keyPair();
  await live(folder, key, [1]);
  await live(folder, null, [AUDIT_CHECKPOINT_RECORDS_MAX]);
  const evidence = { publicKeys: [publicKey] };
  t.match(await verifyAudit([folder], evidence), { ok: true, signed_to: 2 });
  await live(folder, null, [1]);
  t.match(await verifyAudit([folder], evidence), {
    ok: false,
    broken: { problem: /the last 10001 records have no checkpoint/ },
  });
});

t.test('on the command line, with keys that were changed and a head that was kept', async (t) => {
  const env = temporaryEnv(t);
  const paths = resolvePaths(env);
  const [first, second] = [keyPair(), keyPair()];
  const folder = temporaryFolder(t);
  const fileOf = (name: string, content: string): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const keys = [fileOf('1.pem', first.publicKey), fileOf('2.pem', second.publicKey)];
  const audit = temporaryFolder(t);
  await live(audit, first.key, [2]);
  await live(audit, second.key, [2]);
  const verify = (...words: string[]) => say({ paths }, ['audit', 'verify', audit, ...words]);
  const options = keys.flatMap((path) => ['--public-key', path]);
  const said = await verify(...options);
  t.equal(said.code, 0, said.err);
  t.match(said.out, 'signed up to record 6\n');
  t.match((await verify()).out, '2 checkpoints; --public-key FILE');
  const head = /head: (\S+)/.exec(said.out)?.[1] ?? '';
  t.equal((await verify('--head', head)).code, 0);
  t.match(await verify('--public-key', folder), { code: 2 });
  t.match(await verify('--public-key', fileOf('none.pem', 'none')), {
    code: 2,
    err: /no Ed25519 public key/,
  });
  t.match(await verify('--head', '9'), { code: 2 });
  // Who cuts off the end, checkpoint and all, leaves a chain that holds.
  const [path = ''] = auditFiles(audit);
  const lines = readFileSync(path, 'utf8').split('\n');
  truncateSync(path, lines.slice(0, 3).join('\n').length + 1);
  t.equal((await verify(...options)).code, 0);
  t.match(await verify('--head', head), { code: 1, out: /record 6 with that hash is not there/ });
});

t.test('the key is looked at when it is set', async (t) => {
  const folder = temporaryFolder(t);
  const place = { path: join(folder, 'settings.json'), given: {} };
  const path = join(folder, 'key.pem');
  writeFileSync(path, '', { mode: 0o600 });
  for (const [content, fault] of [
    ['none', /no Ed25519 private key/],
    [keyPair().publicKey, /no Ed25519 private key/],
    [keyPair('ed448').key, /no Ed25519 private key/],
  ] as const) {
    writeFileSync(path, content);
    t.throws(() => Settings.load({ ...place, env: { SALLYPORT_AUDIT_KEY: path } }), {
      code: 'SALLYPORT_SETTING_INVALID',
      message: fault,
    });
  }
  const { key } = keyPair();
  writeFileSync(path, key);
  const { values } = Settings.load({ ...place, env: { SALLYPORT_AUDIT_KEY: path } });
  t.equal(instanceOptions(values, 0).options.audit.key, key);
  chmodSync(path, 0o644);
  const shared = {
    code: 'SALLYPORT_SETTING_INVALID',
    message: /others may use the key in .*key\.pem/,
  };
  const load = () => Settings.load({ ...place, env: { SALLYPORT_AUDIT_KEY: path } });
  t.throws(load, shared, 'when it is set');
  t.throws(() => instanceOptions(values, 0), shared, 'and when it is read');
});
