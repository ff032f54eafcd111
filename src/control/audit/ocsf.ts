// Records as OCSF 1.3 events (schema.ocsf.io): requests as HTTP Activity, CONNECTs as Network
// Activity, the daemon as Application Lifecycle, all else as Base Event. What OCSF has no place for
// stands in `unmapped`, under the names of schema.ts.
import type { Outcome } from '../../proxy/exchange.ts';
import { type OtherRecord, type Program, type RecordFormat, text } from './record.ts';

const OCSF_VERSION = '1.3.0';
const NETWORK = { category_uid: 4, category_name: 'Network Activity' };
const NETWORK_ACTIVITY = { ...NETWORK, class_uid: 4001, class_name: 'Network Activity' };
const HTTP_ACTIVITY = { ...NETWORK, class_uid: 4002, class_name: 'HTTP Activity' };
const LIFECYCLE = {
  category_uid: 6,
  category_name: 'Application Activity',
  class_uid: 6002,
  class_name: 'Application Lifecycle',
};
const BASE_EVENT = {
  category_uid: 0,
  category_name: 'Uncategorized',
  class_uid: 0,
  class_name: 'Base Event',
};

type Class = Readonly<Record<'category_uid' | 'class_uid', number>> &
  Readonly<Record<'category_name' | 'class_name', string>>;
type Activity = readonly [id: number, name: string];

const START: Activity = [3, 'Start'];
const STOP: Activity = [4, 'Stop'];
const OTHER = 99;

/** Of HTTP Activity, in the order of their numbers. */
const METHODS = ['Connect', 'Delete', 'Get', 'Head', 'Options', 'Post', 'Put', 'Trace'];
const HTTP_WORDS: ReadonlyMap<string, string> = new Map(
  METHODS.map((name, i) => [name.toUpperCase(), classWords(HTTP_ACTIVITY, [i + 1, name])]),
);
const TRAFFIC_WORDS = classWords(NETWORK_ACTIVITY, [6, 'Traffic']);
const REFUSE_WORDS = classWords(NETWORK_ACTIVITY, [5, 'Refuse']);
const FAIL_WORDS = classWords(NETWORK_ACTIVITY, [4, 'Fail']);

const SEVERITIES = { informational: 1, low: 2, high: 4 } as const;
/** Action and disposition of the security_control profile. */
const ACTIONS = { allow: [1, 1], deny: [2, 2], none: [0, 0] } as const;

const UPSTREAM_CODE = /^SALLYPORT_(UPSTREAM|DNS)_/;

/** @param program  who writes */
export function ocsfFormat(program: Program): RecordFormat {
  const product = { name: 'Sallyport', vendor_name: 'Sallyport', version: program.app_version };
  const metadata = {
    version: OCSF_VERSION,
    product,
    log_name: 'audit',
    profiles: ['security_control'],
  };
  const before = `{"metadata":${JSON.stringify(metadata).slice(0, -1)},"sequence":`;
  return {
    name: 'ocsf',
    head: (seq) => `${before}${seq}},`,
    tail: '}}\n',
    exchange: exchangeEvent,
    other: (record) => otherEvent(record, product),
  };
}

/** Members of an event whose last, `unmapped`, is left open: the chain ends it. */
function exchangeEvent(o: Outcome): string {
  const isHttp = o.method !== 'CONNECT' && o.method !== '';
  const words = isHttp ? httpWords(o.method) : tunnelWords(o);
  const [action, disposition] = ACTIONS[o.verdict];
  const startMs = Math.floor(o.time_ms);
  return (
    `"time":${startMs},"start_time":${startMs},"end_time":${startMs + Math.round(o.duration_ms)},` +
    `"duration":${Math.round(o.duration_ms)},${words},"severity_id":${severityOf(o)},` +
    `"status_id":${o.code === null ? 1 : 2},"status_code":${text(o.code ?? String(o.status))},` +
    `${o.reason === null ? '' : `"status_detail":${text(o.reason)},`}` +
    `"action_id":${action},"disposition_id":${disposition},` +
    `${o.rule === null ? '' : `"firewall_rule":{"uid":${text(o.rule)}},`}` +
    `"src_endpoint":{"name":${text(o.sandbox === '' ? 'unknown' : o.sandbox)}},` +
    `"dst_endpoint":${endpointOf(o)},` +
    `"connection_info":{"direction_id":2,"protocol_name":"tcp","protocol_num":6},` +
    `"traffic":{"bytes":${o.bytes_up + o.bytes_down},"bytes_in":${o.bytes_down},"bytes_out":${o.bytes_up}},` +
    `${isHttp ? httpOf(o) : ''}${unmappedOf(o)}`
  );
}

function httpWords(method: string): string {
  return HTTP_WORDS.get(method) ?? classWords(HTTP_ACTIVITY, [OTHER, method]);
}

function tunnelWords({ verdict, code }: Outcome): string {
  if (verdict !== 'allow') return REFUSE_WORDS;
  return code !== null && UPSTREAM_CODE.test(code) ? FAIL_WORDS : TRAFFIC_WORDS;
}

function classWords(of: Class, [id, name]: Activity): string {
  return JSON.stringify({
    ...of,
    activity_id: id,
    activity_name: name,
    type_uid: of.class_uid * 100 + id,
    type_name: `${of.class_name}: ${name}`,
  }).slice(1, -1);
}

function severityOf({ verdict, code }: Outcome): number {
  if (code === 'SALLYPORT_CREDENTIAL_MISUSED') return SEVERITIES.high;
  return verdict === 'deny' ? SEVERITIES.low : SEVERITIES.informational;
}

function endpointOf({ host, port, address }: Outcome): string {
  const ip = address === null ? '' : `,"ip":${text(address)}`;
  return `{"hostname":${text(host === '' ? 'unknown' : host)}${ip},"port":${port}}`;
}

function httpOf({ method, path, host, port, ingress, status }: Outcome): string {
  const scheme = ingress === 'connect' ? 'https' : 'http';
  const url = `{"scheme":"${scheme}","hostname":${text(host)},"port":${port},"path":${JSON.stringify(path ?? '')}}`;
  const response = status === 0 ? '' : `"http_response":{"code":${status}},`;
  return `"http_request":{"http_method":${text(method)},"url":${url}},${response}`;
}

/** Left open. */
function unmappedOf(o: Outcome): string {
  const type = o.method === 'CONNECT' ? 'network_egress' : 'http_request';
  return (
    `"unmapped":{"action_type":"${type}",` +
    `"ingress":"${o.ingress}","mode":"${o.mode}","verdict":"${o.verdict}",` +
    `"deny_kind":${text(o.deny_kind)},"source":${text(o.source)},"bypass":${text(o.bypass)},` +
    `"injected":${text(o.injected)},"masked":${o.masked},"decide_ms":${o.decide_ms},` +
    `"connect_ms":${o.connect_ms},"duration_ms":${o.duration_ms},"generation":${o.generation}`
  );
}

/** Left open, too. */
function otherEvent(record: OtherRecord, product: object): string {
  const { time, ...unmapped } = record;
  const { action_type: type, event } = record;
  const isSession = type === 'session';
  const words = isSession
    ? classWords(LIFECYCLE, event === 'start' ? START : STOP)
    : classWords(BASE_EVENT, [OTHER, type]);
  return (
    `"time":${Date.parse(time)},${words},` +
    `"severity_id":${type === 'gap' ? SEVERITIES.high : SEVERITIES.informational},` +
    `"message":${JSON.stringify(type)},${isSession ? `"app":${JSON.stringify(product)},` : ''}` +
    `"unmapped":${JSON.stringify(unmapped).slice(0, -1)}`
  );
}
