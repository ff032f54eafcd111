// What records of the audit say, without their place in the chain, and the format that they are
// written in unless another is asked for. What the fields mean is in schema.ts.
import { AUDIT_TEXTS_MAX } from '../../base/limits.ts';
import type { Outcome } from '../../proxy/exchange.ts';
import { AUDIT_VERSION } from './schema.ts';

/** How records become lines. A line is head, members, hash of the line before, maybe a signature, tail. */
export type RecordFormat = {
  readonly name: string;
  readonly head: (seq: number) => string;
  readonly tail: string;
  /** @returns the members for an exchange; the slot, which means nothing afterwards, is none. */
  readonly exchange: (outcome: Outcome) => string;
  /** @returns the members for anything else. */
  readonly other: (record: OtherRecord) => string;
};

/** As schema.ts has it, without its place. */
export type OtherRecord = { readonly time: string; readonly action_type: string } & Readonly<
  Record<string, unknown>
>;

export const NATIVE: RecordFormat = {
  name: 'sallyport',
  head: (seq) => `{"version":${AUDIT_VERSION},"seq":${seq},`,
  tail: '}\n',
  exchange: exchangeBody,
  other: (record) => JSON.stringify(record).slice(1, -1),
};

/** It runs once for each exchange, so it is spelled out: a copy by spread costs half as much again. */
function exchangeBody(o: Outcome): string {
  const isTunnel = o.method === 'CONNECT';
  return (
    `"time":"${timeOf(o.time_ms)}",` +
    `"action_type":"${isTunnel ? 'network_egress' : 'http_request'}","sandbox":${text(o.sandbox)},` +
    `"ingress":"${o.ingress}","mode":"${o.mode}","method":${text(o.method)},` +
    `"path":${o.path === null ? 'null' : JSON.stringify(o.path)},` +
    `"host":${text(o.host)},"port":${o.port},"address":${text(o.address)},` +
    `"verdict":"${o.verdict}","deny_kind":${text(o.deny_kind)},"rule":${text(o.rule)},` +
    `"source":${text(o.source)},"reason":${text(o.reason)},"code":${text(o.code)},` +
    `"bypass":${text(o.bypass)},"injected":${text(o.injected)},"masked":${o.masked},"status":${o.status},` +
    `"bytes_up":${o.bytes_up},"bytes_down":${o.bytes_down},` +
    `"decide_ms":${o.decide_ms},"connect_ms":${o.connect_ms},"duration_ms":${o.duration_ms},` +
    `"generation":${o.generation}`
  );
}

/** Who writes the audit; the words are those of sbx's audit. */
export type Program = {
  readonly client_name: string;
  readonly app_version: string;
  readonly hostname: string;
  readonly os: string;
  /** Whom it runs as. */
  readonly username: string;
};

export type Session = {
  readonly event: 'start' | 'stop';
  readonly session: string;
  readonly mode: string;
  /** What the death of the last writer left behind its last record. */
  readonly cutBytes: number;
};

/** A writer begins or ends; one that was killed ends without a word. */
export function sessionRecord(timeMs: number, program: Program, session: Session): OtherRecord {
  return {
    time: timeOf(timeMs),
    action_type: 'session',
    event: session.event,
    audit_session_id: session.session,
    audit_mode: session.mode,
    ...program,
    cut_bytes: session.cutBytes,
  };
}

/** Exchanges that have no record of their own. */
export type Absence = {
  /** They took place and their records are lost, or they were refused. */
  readonly what: 'lost' | 'refused';
  /** What the refused were told. */
  readonly code: string | null;
  readonly reason: string | null;
  readonly count: number;
  readonly fromMs: number;
  readonly toMs: number;
};

/** What is missing is on record itself. */
export function gapRecord(timeMs: number, absence: Absence): OtherRecord {
  const { what, code, reason, count, fromMs, toMs } = absence;
  const [from, to] = [timeOf(fromMs), timeOf(toMs)];
  return { time: timeOf(timeMs), action_type: 'gap', what, count, from, to, code, reason };
}

/** @param key  whose signature stands at the end of the line */
export function checkpointRecord(timeMs: number, key: string): OtherRecord {
  return { time: timeOf(timeMs), action_type: 'checkpoint', key };
}

let lastTime = { ms: Number.NaN, text: '' };

/** Many exchanges begin in one millisecond. */
function timeOf(ms: number): string {
  if (ms !== lastTime.ms) lastTime = { ms, text: new Date(ms).toISOString() };
  return lastTime.text;
}

const jsonTexts = new Map<string | null, string>([[null, 'null']]);

/** JSON of a string. Sandboxes, hosts and rules come again and again, so their text is kept. */
export function text(value: string | null): string {
  const known = jsonTexts.get(value);
  if (known !== undefined) return known;
  const json = JSON.stringify(value);
  if (jsonTexts.size >= AUDIT_TEXTS_MAX) jsonTexts.clear();
  jsonTexts.set(value, json);
  return json;
}
