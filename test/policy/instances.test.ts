// Instances are covered by their patterns, and what two patterns have in common is found.
import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import t from 'tap';
import { addressBytes, covers } from '../../src/policy/address.ts';
import { parseHost } from '../../src/policy/host.ts';
import { pathMatches } from '../../src/policy/http.ts';
import {
  addressInstances,
  commonAddress,
  commonHost,
  type HostResource,
  hostInstances,
  pathInstances,
} from '../../src/policy/instances.ts';
import { resourceMatches } from '../../src/policy/reference.ts';
import { parseResources } from '../../src/policy/resource.ts';
import { elements, hosts } from '../helpers/arbitraries.ts';

const resources = elements.map((text) => parseResources(text)[0]);
const names = resources.filter((one): one is HostResource => one?.kind === 'host');

/** At any port. */
function covered(resource: HostResource, host: string): boolean {
  return resourceMatches({ ...resource, port: 0 }, host, 1);
}

t.test('names that a resource covers', async (t) => {
  fc.assert(
    fc.property(names, (resource) => {
      const found = hostInstances(resource);
      if (!/[\d\]?*]$/.test(resource.labels.at(-1) ?? '')) t.ok(found.length > 0, resource.text);
      for (const host of found) t.ok(covered(resource, host), `${resource.text}: ${host}`);
    }),
  );
  t.strictSame(hostInstances(parseResources('a.com')[0] as HostResource), ['a.com']);
  t.strictSame(hostInstances(parseResources('**.a.com')[0] as HostResource), [
    'witness.a.com',
    'w.a.com',
    '0w.a.com',
    'w.witness.a.com',
  ]);
});

t.test('a name that two resources cover both is found when there is one', async (t) => {
  let met = 0;
  fc.assert(
    fc.property(names, names, fc.array(hosts, { minLength: 20, maxLength: 20 }), (a, b, list) => {
      const common = commonHost(a, b);
      if (common !== null) {
        assert.ok(covered(a, common) && covered(b, common), `${a.text} ${b.text}: ${common}`);
        assert.equal(parseHost(common), common);
      }
      const both = list.find((host) => covered(a, host) && covered(b, host));
      if (both === undefined) return;
      met++;
      assert.notEqual(common, null, `${a.text} and ${b.text} cover ${both}`);
    }),
    { numRuns: 2_000 },
  );
  t.ok(met > 50, `${met} pairs met`);
});

t.test('a name that ends with digits alone is none, and another is looked for', async (t) => {
  for (const [a, b, name] of [
    ['*[0-9]', '?*', 'w0'],
    ['x.*[0-9]', 'x.?*', 'x.w0'],
    ['0x[ag]', '0x?', '0xg'],
    ['x.[0-9]', 'x.?', null],
    ['0x[0-9]', '0x*', null],
  ] as const) {
    const [one, other] = [a, b].map((text) => parseResources(text)[0] as HostResource);
    if (one === undefined || other === undefined) throw new TypeError(a);
    t.equal(commonHost(one, other), name, `${a} ${b}`);
    t.equal(commonHost(other, one), name, `${b} ${a}`);
  }
  t.strictSame(hostInstances(parseResources('a.0x[0-9]')[0] as HostResource), []);
});

t.test('addresses and paths', async (t) => {
  for (const resource of parseResources('10.0.0.0/25,10.1.2.3,0.0.0.0/0,2001:db8::/33,::1/128')) {
    if (resource.kind !== 'cidr') throw new TypeError(resource.text);
    const found = addressInstances(resource);
    for (const address of found) {
      t.ok(covers(resource.bytes, resource.prefixLength, addressBytes(address)), address);
    }
    t.equal(found.length, resource.prefixLength === 8 * resource.bytes.length ? 1 : 3);
    t.equal(commonAddress(resource, resource), found[0]);
  }
  const [wide, narrow, other] = parseResources('10.0.0.0/8,10.1.0.0/16,11.0.0.0/8');
  if (wide?.kind !== 'cidr' || narrow?.kind !== 'cidr' || other?.kind !== 'cidr') return;
  t.equal(commonAddress(wide, narrow), '10.1.0.0');
  t.equal(commonAddress(narrow, wide), '10.1.0.0');
  t.equal(commonAddress(wide, other), null);
  t.strictSame(pathInstances('/**'), ['/', '/w', '/w/w']);
  t.strictSame(pathInstances('/a*b/*/c'), ['/ab/w/c', '/awb/w/c']);
  for (const pattern of ['/', '/a', '/**/x', '/a/**/b/*', '/a*']) {
    const found = pathInstances(pattern);
    t.ok(found.length > 0);
    for (const path of found) t.ok(pathMatches(pattern, path), `${pattern}: ${path}`);
  }
});
