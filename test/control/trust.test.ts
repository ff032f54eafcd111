// The certificates that sandboxes are given: who may read them, and that they are those of now.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { SandboxEnvironment } from '../../src/control/api/routes-environment.ts';
import { TRUST_FILES, TrustFiles } from '../../src/control/trust.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import { startWorld, temporaryFolder } from '../helpers/control.ts';

const inner = TestAuthority.create('Inner');
const certificates = (text: string): string[] =>
  text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? [];

t.test(
  'written when they are asked for, readable by all, renewed with the authority',
  async (t) => {
    const umask = process.umask(0o077); // As the daemon has it.
    t.teardown(() => process.umask(umask));
    const world = await startWorld(t, { upstreamAuthorities: [inner.pem] });
    const { client, paths } = world;
    await client.post('/authority/rotate');
    t.notOk(readdirSync(paths.state).includes('trust'), 'nobody was given them');

    await client.post('/sandbox', { name: 'box' });
    const ask = (): Promise<SandboxEnvironment> => client.get('/environment', { sandbox: 'box' });
    const { trust } = await ask();
    t.equal(trust.folder, paths.trust);
    t.equal(statSync(trust.folder).mode & 0o777, 0o755);
    t.strictSame(readdirSync(trust.folder).sort(), Object.values(TRUST_FILES).sort());
    for (const name of Object.values(TRUST_FILES)) {
      t.equal(statSync(join(trust.folder, name)).mode & 0o777, 0o644, name);
    }
    const read = (name: string): string => readFileSync(join(trust.folder, name), 'utf8');
    t.equal(read(TRUST_FILES.added), trust.authority + inner.pem);
    const bundle = certificates(read(TRUST_FILES.bundle));
    t.strictSame(bundle.slice(0, 2), [trust.authority, inner.pem]);
    t.ok(bundle.length > 2, "the system's own are behind them");

    const store = read(TRUST_FILES.java);
    await client.post('/authority/rotate');
    const next = (await ask()).trust.authority;
    t.not(next, trust.authority);
    t.equal(read(TRUST_FILES.added), next + inner.pem);
    t.strictSame(certificates(read(TRUST_FILES.bundle)), [next, ...bundle.slice(1)]);
    t.not(read(TRUST_FILES.java), store);

    rmSync(join(trust.folder, TRUST_FILES.bundle));
    await ask();
    t.equal(
      certificates(read(TRUST_FILES.bundle)).length,
      bundle.length,
      'one that is lost is back',
    );
  },
);

t.test('where they cannot be written, who asks is told, and a rotation goes on', async (t) => {
  const blocked = join(temporaryFolder(t), 'file');
  writeFileSync(blocked, '');
  const troubles: unknown[] = [];
  const files = new TrustFiles({
    folder: blocked,
    authority: () => inner.pem,
    upstream: [],
    onTrouble: (error) => troubles.push(error),
  });
  t.throws(() => files.write(), { code: 'EEXIST' });
  files.refresh();
  t.match(troubles, [{ code: 'EEXIST' }]);
});
