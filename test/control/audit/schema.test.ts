// src/control/audit/schema.ts against what src/control/audit/record.ts and real daemons write.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fastify from 'fastify';
import t from 'tap';
import type { z } from 'zod';
import { systemClock } from '../../../src/base/clock.ts';
import { Chain, GENESIS } from '../../../src/control/audit/chain.ts';
import { signerOf } from '../../../src/control/audit/checkpoint.ts';
import { gapRecord, NATIVE, sessionRecord } from '../../../src/control/audit/record.ts';
import {
  AuditRecord,
  auditJsonSchema,
  type ExchangeRecord,
} from '../../../src/control/audit/schema.ts';
import { AUDIT_DEFAULTS } from '../../../src/control/audit/settings.ts';
import { verifyAudit } from '../../../src/control/audit/verify.ts';
import type { Outcome } from '../../../src/proxy/exchange.ts';
import { linesIn, recordsIn } from '../../helpers/audit.ts';
import { outcomeOf, PLAIN_AUDIT, startWorld } from '../../helpers/control.ts';
import { wire } from '../../helpers/wire.ts';

const SCHEMA = join(import.meta.dirname, '../../../docs/audit.schema.json');

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const KEY = String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
const PUBLIC_KEY = String(publicKey.export({ type: 'spki', format: 'pem' }));

const OUTCOMES: readonly Outcome[] = [
  outcomeOf(),
  outcomeOf({ method: 'GET', path: '/a"\\b', mode: 'forward', ingress: 'forward' }),
  outcomeOf({ verdict: 'deny', deny_kind: 'explicit', code: 'SALLYPORT_DENIED', reason: 'a\n"b"' }),
  outcomeOf({ verdict: 'none', method: '', host: '', port: 0, address: null, rule: null }),
  outcomeOf({ code: 'SALLYPORT_INTERRUPTED', injected: 'a,b', bypass: '*.test', masked: 3 }),
];

t.test('the published schema is the one of this program', async (t) => {
  t.strictSame(
    JSON.parse(readFileSync(SCHEMA, 'utf8')),
    auditJsonSchema(),
    'or run scripts/write-audit-schema.ts',
  );
});

t.test('every line is a record, with no field that the schema does not know', async (t) => {
  const signer = signerOf(KEY);
  const chain = new Chain({ seq: 1, hash: GENESIS, unsigned: 0 }, systemClock, signer, NATIVE);
  const { program } = PLAIN_AUDIT;
  const times = { fromMs: 1, toMs: Date.now() };
  const session = { session: randomUUID(), mode: 'required', cutBytes: 3 } as const;
  const others = [
    sessionRecord(1, program, { event: 'stop', ...session }),
    gapRecord(2, { what: 'lost', code: null, reason: 'ENOSPC: "full"', count: 7, ...times }),
    gapRecord(3, {
      what: 'refused',
      code: 'SALLYPORT_OVERLOADED',
      reason: null,
      count: 1,
      ...times,
    }),
  ];
  const bodies = [...OUTCOMES.map(NATIVE.exchange), ...others.map(NATIVE.other)];
  for (const line of [...bodies.map((body) => chain.add(body)), chain.checkpoint()]) {
    const record: unknown = JSON.parse(line);
    t.strictSame(AuditRecord.parse(record), record);
  }
});

t.test('the schema has every word that an outcome may have', async (t) => {
  // Types alone: a new mode or source does not compile until the schema knows it.
  type Own = 'version' | 'seq' | 'time' | 'action_type' | 'prev';
  const facts: Omit<z.infer<typeof ExchangeRecord>, Own> = outcomeOf();
  t.ok(facts);
});

/** Fastify's own validator, which knows JSON Schema and nothing of zod. */
async function faultsBySchema(schema: unknown, records: readonly unknown[]): Promise<string[]> {
  const server = fastify({
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false } },
  });
  server.post('/', { schema: { body: schema } }, async () => 'ok');
  const faults: string[] = [];
  for (const payload of records) {
    const { statusCode, body } = await server.inject({
      method: 'POST',
      url: '/',
      payload: payload as object,
    });
    if (statusCode !== 200) faults.push(`${body} ${JSON.stringify(payload)}`);
  }
  await server.close();
  return faults;
}

t.test('what a running proxy writes is valid by the published schema', async (t) => {
  const world = await startWorld(t, {
    defaultSandbox: 'box',
    preset: 'deny-all',
    audit: { ...AUDIT_DEFAULTS, key: KEY },
  });
  const port = Number(world.instance.status().listen.split(':')[1]);
  for (const request of [
    'GET http://denied.test/a/b?token=hidden HTTP/1.1\r\nHost: denied.test\r\n\r\n',
    'CONNECT denied.test:443 HTTP/1.1\r\nHost: denied.test:443\r\n\r\n',
    'nonsense\r\n\r\n',
  ]) {
    const client = await wire(port);
    client.send(request);
    await client.response();
    client.socket.destroy();
  }
  const mount = { path: '/', writable: true, sandbox_id: 'box' };
  await t.rejects(world.client.post('/policy/filesystem/mount', mount));
  await world.client.post('/policy/filesystem/mount', { path: import.meta.dirname });
  await world.instance.stop(0);
  t.notMatch(linesIn(world.paths.audit).join(), 'hidden', 'queries are in no record');
  const records = recordsIn<unknown>(world.paths.audit);
  const exchanges = records.filter((record) => AuditRecord.safeParse(record).success);
  const told = (...types: string[]): unknown[] =>
    exchanges.filter((record) => types.includes(Object(record).action_type));
  t.match(told('session'), [
    { event: 'start', audit_mode: 'required', cut_bytes: 0 },
    { event: 'stop' },
  ]);
  t.match(told('http_request', 'network_egress'), [
    { action_type: 'http_request', path: '/a/b', host: 'denied.test', verdict: 'deny' },
    { action_type: 'network_egress', path: null },
    { action_type: 'http_request', method: '', code: 'SALLYPORT_REQUEST_MALFORMED' },
  ]);
  t.match(told('filesystem_mount'), [
    { verdict: 'deny', code: 'SALLYPORT_MOUNT_DENIED' },
    { sandbox: '', rules: ['default-fs-read-allow-all'] },
  ]);
  const signed = await verifyAudit([world.paths.audit], { publicKeys: [PUBLIC_KEY] });
  t.match(signed, { ok: true, signed_to: records.length });
  const schema: unknown = JSON.parse(readFileSync(SCHEMA, 'utf8'));
  t.strictSame(await faultsBySchema(schema, records), []);
  const broken = { ...(told('http_request')[0] as object), verdict: 'perhaps' };
  t.equal((await faultsBySchema(schema, [broken])).length, 1, 'and it can tell');
});
