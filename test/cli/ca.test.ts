// `ca export|info|rotate|import`.
import { X509Certificate } from 'node:crypto';
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
