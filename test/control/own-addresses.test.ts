import t from 'tap';
import { machineAddresses, ownAddresses } from '../../src/control/own-addresses.ts';
import type { Address } from '../../src/policy/address.ts';

t.test('every place that leads to this instance', async (t) => {
  const machine = ['10.0.0.5', 'fe80::1'] as Address[];
  const everywhere = ownAddresses([{ kind: 'tcp', host: '0.0.0.0', port: 3128 }], machine);
  t.strictSame(everywhere, [
    '0.0.0.0:3128',
    '127.0.0.1:3128',
    '::1:3128',
    '10.0.0.5:3128',
    'fe80::1:3128',
  ]);
  t.strictSame(
    ownAddresses(
      [
        { kind: 'tcp', host: '127.0.0.1', port: 1 },
        { kind: 'unix', path: '/x' },
        { kind: 'tcp', host: '127.0.0.1', port: 1 },
      ],
      machine,
    ),
    ['127.0.0.1:1'],
  );
});

t.test('knows the loopback of this machine', async (t) => {
  t.ok(machineAddresses().includes('127.0.0.1' as Address));
});
