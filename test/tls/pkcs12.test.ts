// Read back by two programs that are not ours: node-forge, and Java's keytool where there is one.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import forge from 'node-forge';
import t from 'tap';
import { javaTrustStore, TRUST_STORE_PASSWORD } from '../../src/tls/pkcs12.ts';
import { systemAuthorities, trustedAuthorities } from '../../src/tls/roots.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import { temporaryFolder } from '../helpers/control.ts';

const { asn1, pkcs12 } = forge;
const pems = [TestAuthority.create('One').pem, TestAuthority.create('Two').pem];

t.test('it is whole, and holds what it was given', async (t) => {
  const store = javaTrustStore(pems);
  const read = (bytes: Buffer, password: string): forge.pkcs12.Pkcs12Pfx =>
    pkcs12.pkcs12FromAsn1(asn1.fromDer(bytes.toString('binary')), password);
  const bags = read(store, TRUST_STORE_PASSWORD).safeContents.flatMap(({ safeBags }) => safeBags);
  const ders = bags.map((bag) => (bag as unknown as { asn1: forge.asn1.Asn1 }).asn1);
  t.strictSame(
    ders.map((one) => forge.util.encode64(asn1.toDer(one).getBytes())),
    pems.map((pem) => pem.replace(/-----.*-----|\n/g, '')),
  );
  t.throws(() => read(store, 'another'), /MAC/, 'the password is part of the check');
  const damaged = Buffer.from(store);
  const middle = damaged.length >> 1;
  damaged.writeUInt8(damaged.readUInt8(middle) ^ 1, middle);
  t.throws(() => read(damaged, TRUST_STORE_PASSWORD));
  t.ok(store.equals(javaTrustStore(pems)), 'the same certificates, the same bytes');
});

const java = spawnSync('keytool').error === undefined;

t.test('Java trusts every certificate in it', { skip: !java }, async (t) => {
  const file = join(temporaryFolder(t), 'trust.p12');
  const all = trustedAuthorities(systemAuthorities(), pems);
  writeFileSync(file, javaTrustStore(all));
  const words = [
    '-J-Duser.language=en',
    '-list',
    '-keystore',
    file,
    '-storepass',
    TRUST_STORE_PASSWORD,
  ];
  const { error, stdout } = spawnSync('keytool', words, { encoding: 'utf8' });
  t.equal(error, undefined);
  t.equal(stdout.match(/trustedCertEntry/g)?.length, all.length, stdout.slice(0, 500));
});
