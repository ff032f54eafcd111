// `ca export|info|rotate|import`.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { TestAuthority } from '../helpers/certificates.ts';
import { startWorld, temporaryFolder } from '../helpers/control.ts';
import { say } from './session.ts';

t.test('shown, given away, made anew, replaced', async (t) => {
  const world = await startWorld(t);
  const info = await say(world, ['ca', 'info']);
  t.match(info, {
    code: 0,
    out: /Subject {5}O=Sallyport, CN=Sallyport Proxy CA\n.*Source {6}made here\n/s,
  });
  const pem = await say(world, ['ca', 'export']);
  const { serial } = JSON.parse((await say(world, ['ca', 'info', '--json'])).out);
  t.equal(new X509Certificate(pem.out).serialNumber, serial);
  t.notMatch(pem.out, 'PRIVATE KEY');
  t.match(await say(world, ['ca', 'export', '--format', 'key']), {
    code: 1,
    err: /pem, der, bundle/,
  });

  t.match(await say(world, ['ca', 'rotate']), { code: 1, err: /use --force/ });
  t.match(await say(world, ['ca', 'rotate'], '\r'), { code: 1, err: /Cancelled/ });
  t.match(await say(world, ['ca', 'rotate', '--force', '--json']), { code: 0 });
  t.not(JSON.parse((await say(world, ['ca', 'info', '--json'])).out).serial, serial);

  const own = TestAuthority.create('Org CA');
  const file = join(temporaryFolder(t), 'org.pem');
  t.match(await say(world, ['ca', 'import', file]), { code: 1, err: /cannot be read/ });
  writeFileSync(file, own.pem);
  t.match(await say(world, ['ca', 'import', file]), { code: 1, err: /no private key/ });
  writeFileSync(file, own.pem + own.keyPem);
  t.match(await say(world, ['ca', 'import', file]), { code: 0, out: /Org CA.*imported/s });
});

t.test('the passphrase of a key is typed unseen, or read from a file as it is', async (t) => {
  const world = await startWorld(t);
  const own = TestAuthority.create('Locked CA');
  const passphrase = ' two words ';
  const key = createPrivateKey(own.keyPem).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase,
  });
  const folder = temporaryFolder(t);
  const [file, secret] = [join(folder, 'org.pem'), join(folder, 'passphrase')];
  writeFileSync(file, own.pem + key);
  const typed = await say(world, ['ca', 'import', file], `${passphrase}\r`);
  t.match(typed, { code: 0, out: /Passphrase:.*Locked CA/s });
  t.notMatch(typed.out, 'two words');
  for (const [keys, code] of [
    ['\u0004', 1],
    ['\u0003', 130],
  ] as const) {
    t.match(await say(world, ['ca', 'import', file], keys), { code, err: 'Cancelled\n' });
  }
  writeFileSync(secret, `${passphrase}\n`);
  const read = ['ca', 'import', file, '--passphrase-file', secret];
  t.match(await say(world, read), { code: 0, out: /Locked CA/ });
});
