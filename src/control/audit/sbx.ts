// Records with the field names of sbx's audit, for whoever reads those already; ours that it has no
// name for stand in `sallyport`, under the names of schema.ts.

import { formatHostPort } from '../../policy/resource.ts';
import type { Outcome } from '../../proxy/exchange.ts';
import { ruleOf } from './log.ts';
import { type OtherRecord, type Program, type RecordFormat, text } from './record.ts';

const SCHEMA_VERSION = '1.82.0';

const CATEGORIES: Readonly<Record<string, string>> = {
  approval: 'AUDIT_CATEGORY_MANAGEMENT',
  checkpoint: 'AUDIT_CATEGORY_MANAGEMENT',
  gap: 'AUDIT_CATEGORY_MANAGEMENT',
  session: 'AUDIT_CATEGORY_MANAGEMENT',
};
const DECISIONS: Readonly<Record<string, string>> = {
  allow: 'AUDIT_DECISION_ALLOW',
  deny: 'AUDIT_DECISION_DENY',
};

/** @param session  id of this life of the daemon */
export function sbxFormat(program: Program, session: string): RecordFormat {
  const { client_name, app_version, hostname, os, username } = program;
  const facts = { schema_version: SCHEMA_VERSION, audit_session_id: session, username };
  const fixed = JSON.stringify({ ...facts, os, app_version, client_name, hostname });
  const constant = fixed.slice(1, -1);
  return {
    name: 'sbx',
    head: (seq) => `{"seq":${seq},"audit_event_id":"${session}-${seq}",${constant},`,
    tail: '}\n',
    exchange: exchangeMembers,
    other: otherMembers,
  };
}

function exchangeMembers(o: Outcome): string {
  const place = formatHostPort(o.host, o.port);
  const decision = DECISIONS[o.verdict];
  return (
    `"timestamp":"${microseconds(o.time_ms)}","category":"AUDIT_CATEGORY_EVALUATION",` +
    `${decision === undefined ? '' : `"decision":"${decision}",`}"resource_id":${text(place)},` +
    `${o.verdict === 'deny' ? `"deny_reason":[${text(ruleOf(o))}],` : ''}${actionOf(o)},` +
    `"sallyport":{"sandbox":${text(o.sandbox)},"ingress":"${o.ingress}","mode":"${o.mode}",` +
    `"address":${text(o.address)},"deny_kind":${text(o.deny_kind)},"rule":${text(o.rule)},` +
    `"source":${text(o.source)},"reason":${text(o.reason)},"code":${text(o.code)},` +
    `"bypass":${text(o.bypass)},"injected":${text(o.injected)},"masked":${o.masked},` +
    `"status":${o.status},"bytes_up":${o.bytes_up},"bytes_down":${o.bytes_down},` +
    `"decide_ms":${o.decide_ms},"connect_ms":${o.connect_ms},"duration_ms":${o.duration_ms},` +
    `"generation":${o.generation}}`
  );
}

function actionOf({ method, host, port, path }: Outcome): string {
  if (method === 'CONNECT') {
    return '"action_type":"network_egress","network_egress":{"protocol":"tcp"}';
  }
  const where = `"host":${text(host)},"port":${port},"path":${JSON.stringify(path)}`;
  return `"action_type":"http_request","http_request":{"method":${text(method)},${where}}`;
}

function otherMembers({ time, action_type: type, ...payload }: OtherRecord): string {
  const decision = type === 'approval' ? responseOf(payload) : DECISIONS[String(payload.verdict)];
  const category = CATEGORIES[type] ?? 'AUDIT_CATEGORY_EVALUATION';
  const { key } = payload; // Of a checkpoint: whoever verifies looks for it here.
  return JSON.stringify({
    timestamp: microseconds(Date.parse(time)),
    category,
    ...(decision !== undefined && { decision }),
    action_type: type,
    ...(key !== undefined && { key }),
    [type]: payload,
  }).slice(1, -1);
}

function responseOf({ option }: { readonly option?: unknown }): string {
  const isYes = option === 'allow' || option === 'once';
  return isYes ? 'AUDIT_DECISION_APPROVED' : 'AUDIT_DECISION_REJECTED';
}

/** RFC 3339 as sbx writes it; we know no more than milliseconds. */
function microseconds(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
