// The audit in other formats: src/control/audit/ocsf.ts, src/control/audit/sbx.ts,
// src/control/audit/settings.ts. Whatever the format, the chain holds, checkpoints are signed, and a
// restart goes on.
import { generateKeyPairSync } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import t from 'tap';
import { Audit } from '../../../src/control/audit/audit.ts';
import { auditFiles } from '../../../src/control/audit/files.ts';
import { readAudit } from '../../../src/control/audit/read.ts';
import { sbxFormat } from '../../../src/control/audit/sbx.ts';
import { AUDIT_FORMATS, type AuditFormat } from '../../../src/control/audit/settings.ts';
import { verifyAudit } from '../../../src/control/audit/verify.ts';
import type { Outcome } from '../../../src/proxy/exchange.ts';
import { say } from '../../cli/session.ts';
import { recordsIn } from '../../helpers/audit.ts';
import { outcomeOf, PLAIN_AUDIT, startWorld, temporaryFolder } from '../../helpers/control.ts';
import { wire } from '../../helpers/wire.ts';

const failing = (error: Error | null): void => {
  throw error ?? new Error('recovered without a failure');
};

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const KEY = String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
const PUBLIC_KEY = String(publicKey.export({ type: 'spki', format: 'pem' }));

const REQUEST = { method: 'GET', path: '/a"b', mode: 'forward' } as const;
const DENIED = { verdict: 'deny', code: 'SALLYPORT_DENIED', status: 403, address: null } as const;
const OUTCOMES: readonly Outcome[] = [
  outcomeOf(),
  outcomeOf({ ...REQUEST, bytes_up: 3, bytes_down: 40, duration_ms: 12.6 }),
  outcomeOf({ ...REQUEST, method: 'PATCH', ingress: 'forward', port: 80 }),
  outcomeOf({ ...DENIED, deny_kind: 'explicit', reason: 'Denied by local rule' }),
  outcomeOf({ ...DENIED, deny_kind: 'implicit', rule: null, source: null, ...REQUEST }),
  outcomeOf({ code: 'SALLYPORT_UPSTREAM_TIMEOUT', reason: 'late', status: 504 }),
  outcomeOf({ ...DENIED, verdict: 'allow', code: 'SALLYPORT_CREDENTIAL_MISUSED', ...REQUEST }),
  outcomeOf({
    verdict: 'none',
    method: '',
    host: '',
    port: 0,
    sandbox: '',
    rule: null,
    status: 400,
  }),
];

type Members = Readonly<Record<string, unknown>>;

async function live(folder: string, format: AuditFormat): Promise<void> {
  const audit = await Audit.open({ ...PLAIN_AUDIT, format, key: KEY, folder, onTrouble: failing });
  audit.announce();
  await audit.record(OUTCOMES);
  const mount = { action_type: 'filesystem_mount', sandbox: 'box', path: '/x', verdict: 'deny' };
  await audit.append({ time: '2026-01-02T03:04:05.678Z', ...mount });
  audit.refused(2, 'SALLYPORT_AUDIT_UNAVAILABLE', 1_000, 2_000);
  await audit.close();
}

async function written(format: AuditFormat): Promise<Members[]> {
  const folder = temporaryFolder(t);
  await live(folder, format);
  return recordsIn(folder);
}

for (const format of AUDIT_FORMATS) {
  t.test(`${format}: the chain holds over a death, and is signed`, async (t) => {
    const folder = temporaryFolder(t);
    await live(folder, format);
    const [path = ''] = auditFiles(folder);
    appendFileSync(path, readFileSync(path, 'utf8').slice(0, 100));
    await live(folder, format);
    const records = recordsIn(folder).length;
    t.equal(auditFiles(folder).length, 1);
    t.match(await verifyAudit([folder], { publicKeys: [PUBLIC_KEY] }), {
      ok: true,
      records,
      signed_to: records,
    });
    const text = readFileSync(path, 'utf8');
    t.notMatch(text, 'undefined');
  });
}

t.test('another format begins another file, and the chain goes on', async (t) => {
  const folder = temporaryFolder(t);
  for (const format of ['sallyport', 'ocsf', 'ocsf', 'sbx', 'sallyport'] as const) {
    await live(folder, format);
  }
  t.equal(auditFiles(folder).length, 4);
  t.match(await verifyAudit([folder], { publicKeys: [PUBLIC_KEY] }), { ok: true });
});

function hasEndpoints({ src_endpoint: source, dst_endpoint: destination }: Members): boolean {
  return Boolean((source as Members).name && (destination as Members).hostname);
}

t.test('sbx: the answer of a person', async (t) => {
  const { other } = sbxFormat(PLAIN_AUDIT.program, 'session');
  const asked = { time: '2026-01-02T03:04:05.678Z', action_type: 'approval', host: 'a.test' };
  const told = (option: string): Members => JSON.parse(`{${other({ ...asked, option })}}`);
  t.match(told('once'), { decision: 'AUDIT_DECISION_APPROVED', approval: { host: 'a.test' } });
  t.match(told('dismiss'), { decision: 'AUDIT_DECISION_REJECTED' });
});

t.test('other formats are not read for what they say, and it is told', async (t) => {
  for (const format of ['ocsf', 'sbx'] as const) {
    const folder = temporaryFolder(t);
    await live(folder, format);
    const read = async (): Promise<void> => {
      for await (const record of readAudit([folder], 0)) t.fail(JSON.stringify(record));
    };
    await t.rejects(read(), { code: 'SALLYPORT_USAGE', message: `written as ${format}` });
  }
});

/** What OCSF 1.3 requires of every event of these classes. */
function faultsOf(event: Members): string[] {
  const { metadata, time, severity_id: severity, activity_id: activity } = event;
  const { class_uid: type, category_uid: category, type_uid: uid } = event;
  const { version, product, sequence } = metadata as Members;
  const { name, vendor_name: vendor } = product as Members;
  const numbers = [time, severity, activity, type, category, uid, sequence];
  const checks: Readonly<Record<string, unknown>> = {
    numbers: numbers.every(Number.isSafeInteger),
    type_uid: uid === Number(type) * 100 + Number(activity),
    category_uid: Math.floor(Number(type) / 1_000) === category,
    metadata: version === '1.3.0' && name && vendor,
    endpoints: category !== 4 || hasEndpoints(event),
    http_request: type !== 4002 || event.http_request,
    app: type !== 6002 || event.app,
  };
  return Object.keys(checks).filter((check) => !checks[check]);
}

t.test('ocsf: every event has what its class requires', async (t) => {
  for (const event of await written('ocsf'))
    t.strictSame(faultsOf(event), [], JSON.stringify(event));
});

t.test('ocsf: what happened is told by class, activity, action and severity', async (t) => {
  const events = await written('ocsf');
  const told = events.map((event) => [event.type_uid, event.action_id, event.severity_id]);
  t.strictSame(told, [
    [600203, undefined, 1], // session
    [400106, 1, 1], // CONNECT, traffic
    [400203, 1, 1], // GET
    [400299, 1, 1], // PATCH
    [400105, 2, 2], // CONNECT refused
    [400203, 2, 2], // GET refused
    [400104, 1, 1], // CONNECT failed
    [400203, 1, 4], // misused credential
    [400105, 0, 1], // no request at all
    [99, undefined, 1], // checkpoint
    [99, undefined, 1], // mount
    [600204, undefined, 1], // session
    [99, undefined, 4], // gap
    [99, undefined, 1], // checkpoint
  ]);
  t.match(events[2], {
    activity_name: 'Get',
    duration: 13,
    status_id: 1,
    status_code: '200',
    disposition_id: 1,
    firewall_rule: { uid: 'default-allow-all' },
    src_endpoint: { name: 'box' },
    dst_endpoint: { hostname: 'example.com', ip: '192.0.2.1', port: 443 },
    traffic: { bytes: 43, bytes_in: 40, bytes_out: 3 },
    http_request: {
      http_method: 'GET',
      url: { scheme: 'https', hostname: 'example.com', port: 443, path: '/a"b' },
    },
    http_response: { code: 200 },
    unmapped: { action_type: 'http_request', verdict: 'allow' },
  });
  t.match(events[3], { activity_name: 'PATCH', http_request: { url: { scheme: 'http' } } });
  t.match(events[4], { status_id: 2, status_detail: 'Denied by local rule', disposition_id: 2 });
  t.strictSame(events[4]?.dst_endpoint, { hostname: 'example.com', port: 443 });
});

t.test('sbx: the names of its audit', async (t) => {
  const records = await written('sbx');
  const session = records[0]?.audit_session_id;
  for (const [i, record] of records.entries()) {
    t.match(record, {
      seq: i + 1,
      audit_event_id: `${session}-${i + 1}`,
      schema_version: '1.82.0',
      timestamp: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/,
      category: /^AUDIT_CATEGORY_(MANAGEMENT|EVALUATION)$/,
      client_name: 'sallyport',
      app_version: '1.2.3',
      hostname: 'host.test',
      os: 'linux',
      username: 'me',
    });
    t.type(record[String(record.action_type)], 'object');
  }
  t.match(records[0], { action_type: 'session', session: { event: 'start' } });
  t.match(records[1], {
    decision: 'AUDIT_DECISION_ALLOW',
    resource_id: 'example.com:443',
    action_type: 'network_egress',
    network_egress: { protocol: 'tcp' },
  });
  t.match(records[2], {
    action_type: 'http_request',
    http_request: { method: 'GET', host: 'example.com', port: 443, path: '/a"b' },
    sallyport: { sandbox: 'box', rule: 'default-allow-all' },
  });
  t.match(records[5], {
    decision: 'AUDIT_DECISION_DENY',
    deny_reason: [/^no applicable policies for op\(action=net:connect:tcp/],
  });
  t.notOk('decision' in (records[8] ?? {}), 'nothing was decided');
});

t.test('a running proxy writes what it was asked for, by its settings', async (t) => {
  const world = await startWorld(t, {
    defaultSandbox: 'box',
    audit: { ...PLAIN_AUDIT, format: 'ocsf', key: KEY },
  });
  const client = await wire(Number(world.instance.status().listen.split(':')[1]));
  client.send('GET http://a.test/x?token=1 HTTP/1.1\r\nHost: a.test\r\n\r\n');
  await client.response();
  client.socket.destroy();
  await world.instance.stop(0);
  const events = recordsIn(world.paths.audit);
  const request = events.find((event) => event.class_uid === 4002);
  t.match(request, { http_request: { url: { path: '/x' } }, http_response: { code: 403 } });
  t.strictSame(events.flatMap(faultsOf), []);
  const said = await say(world, ['audit', 'verify']);
  t.equal(said.code, 0, said.out);
});
