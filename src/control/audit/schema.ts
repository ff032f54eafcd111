// What a line of the audit is, for those who read it: checked by tests against real lines, and
// published as docs/audit.schema.json. Lines are written by record.ts.
import { z } from 'zod';

/** Of the records. A field that changes its meaning, or goes, makes a new one; a new field does not. */
export const AUDIT_VERSION = 1;

const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

const place = {
  version: z.literal(AUDIT_VERSION),
  seq: z.int().min(1).describe('Numbered without a gap, over files and restarts.'),
  time: time.describe('UTC.'),
};

/** Behind all other members. */
const chained = {
  prev: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .describe('SHA-256 of the line before, with its line feed; zeros in the first line of all.'),
};

const count = z.int().min(0);
const milliseconds = z.number().min(0);

const Exchange = z
  .object({
    ...place,
    time: time.describe('When it began, UTC. Lines are in the order in which they ended.'),
    action_type: z
      .enum(['network_egress', 'http_request'])
      .describe('A CONNECT, or a request that the proxy saw.'),
    sandbox: z.string().describe('Empty when nobody could be identified.'),
    ingress: z.enum(['forward', 'connect']).describe('Asked of the proxy itself, or in a tunnel.'),
    mode: z
      .enum(['forward', 'forward-bypass'])
      .describe('Whether the proxy could speak inside: requests and intercepted tunnels, or not.'),
    method: z.string().describe('Empty when the head could not be read.'),
    path: z
      .string()
      .nullable()
      .describe('As asked for, without its query; … at its end where it is cut. Null for CONNECT.'),
    host: z.string(),
    port: z.int().min(0).max(65_535),
    address: z.string().nullable().describe('The one dialled; null when none was.'),
    verdict: z.enum(['allow', 'deny', 'none']).describe('none: it ended before it was judged.'),
    deny_kind: z
      .enum(['explicit', 'implicit'])
      .nullable()
      .describe('By a rule, or because none allows it.'),
    rule: z.string().nullable().describe('Id of the rule that decided.'),
    source: z.enum(['local', 'kit', 'remote']).nullable().describe('Whose rule that is.'),
    reason: z.string().nullable().describe('Why it was refused, or failed.'),
    code: z.string().nullable().describe('docs/errors.md explains each.'),
    bypass: z
      .string()
      .nullable()
      .describe('The resource of the bypass list that kept the proxy from looking inside.'),
    injected: z
      .string()
      .nullable()
      .describe('Ids of the secrets that were added, and of the client certificate; comma list.'),
    masked: count.describe('How often a secret came back, and was masked.'),
    status: z.int().min(0).max(999).describe('Sent to the client; 0 when none was.'),
    bytes_up: count.describe('Of content, from the client.'),
    bytes_down: count.describe('Of content, to the client.'),
    decide_ms: milliseconds.describe('From the end of the head to the decision.'),
    connect_ms: milliseconds.describe('From the end of the head to the connection; 0 without.'),
    duration_ms: milliseconds.describe('From the end of the head to the end.'),
    generation: count.describe('Of the policy that judged it.'),
    ...chained,
  })
  .describe('One exchange, once it has ended.');

const Mount = z
  .object({
    ...place,
    time: place.time.describe('When it was asked, UTC.'),
    action_type: z.literal('filesystem_mount'),
    sandbox: z.string().describe('Empty when none was named.'),
    path: z.string().describe('As asked for.'),
    resolved: z.string().nullable().describe('Without links; null when that cannot be found out.'),
    writable: z.boolean(),
    verdict: z.enum(['allow', 'deny']),
    deny_kind: z.enum(['explicit', 'implicit']).nullable(),
    rules: z.array(z.string()).describe('Ids of the rules that decided, reading before writing.'),
    source: z
      .enum(['local', 'kit', 'remote'])
      .nullable()
      .describe('Whose rule denied, or allowed.'),
    reason: z.string().nullable().describe('Why it was refused.'),
    code: z.string().nullable().describe('docs/errors.md explains each.'),
    generation: count.describe('Of the policy that judged it.'),
    ...chained,
  })
  .describe('A runtime asked whether it may give a path of the host to a sandbox.');

const BrowserOpen = z
  .object({
    ...place,
    time: place.time.describe('When it was asked, UTC.'),
    action_type: z.literal('browser_open'),
    sandbox: z.string(),
    host: z.string(),
    port: z.int().min(1).max(65_535),
    path: z.string().describe('Without its query.'),
    verdict: z.enum(['allow', 'deny']),
    deny_kind: z.enum(['explicit', 'implicit']).nullable(),
    rule: z.string().nullable().describe('Id of the rule that decided.'),
    source: z.enum(['local', 'kit', 'remote']).nullable(),
    reason: z.string().nullable().describe('Why it was refused.'),
    code: z.string().nullable().describe('docs/errors.md explains each.'),
    generation: count.describe('Of the policy that judged it.'),
    ...chained,
  })
  .describe('A sandbox asked for a page to be opened in the browser of the host.');

const ApprovalResponse = z
  .object({
    ...place,
    time: place.time.describe('When it was said, UTC.'),
    action_type: z.literal('approval'),
    sandbox: z.string(),
    host: z.string(),
    port: z.int().min(1).max(65_535),
    option: z.enum(['allow', 'once', 'dismiss']),
    rule: z.string().nullable().describe('Id of the rule that was made.'),
    expires_at: z.string().nullable().describe('When that rule ends; null: not by itself.'),
    generation: count.describe('Of the policy, afterwards.'),
    ...chained,
  })
  .describe('A person answered what no rule covers.');

const Session = z
  .object({
    ...place,
    action_type: z.literal('session'),
    event: z.enum(['start', 'stop']),
    audit_session_id: z.uuid(),
    audit_mode: z.enum(['required', 'best-effort']),
    client_name: z.string(),
    app_version: z.string(),
    hostname: z.string(),
    os: z.string(),
    username: z.string().describe('Whom the daemon runs as.'),
    cut_bytes: count.describe('Of a record that the death of the last writer left unfinished.'),
    ...chained,
  })
  .describe('A daemon begins or ends to write; one that was killed ends without a word.');

const Gap = z
  .object({
    ...place,
    action_type: z.literal('gap'),
    what: z.enum(['lost', 'refused']).describe('Took place without a record, or were refused.'),
    count: z.int().min(1),
    from: time.describe('When the first of them was.'),
    to: time.describe('When the last of them was.'),
    code: z.string().nullable().describe('What the refused were told.'),
    reason: z.string().nullable(),
    ...chained,
  })
  .describe('Exchanges that have no record of their own.');

const Checkpoint = z
  .object({
    ...place,
    action_type: z.literal('checkpoint'),
    key: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .describe('SHA-256 of the public key, SPKI DER.'),
    ...chained,
    signature: z
      .string()
      .regex(/^[A-Za-z0-9+/]{86}==$/)
      .describe('Ed25519, of the line up to the comma before this member.'),
  })
  .describe('The signature of an operator for all records before it.');

export const ExchangeRecord = Exchange;
export const AuditRecord = z.discriminatedUnion('action_type', [
  Exchange,
  Mount,
  BrowserOpen,
  ApprovalResponse,
  Session,
  Gap,
  Checkpoint,
]);

/** @returns the JSON Schema that is published. */
export function auditJsonSchema(): Record<string, unknown> {
  return {
    ...z.toJSONSchema(AuditRecord, { target: 'draft-7', io: 'input' }),
    title: `Sallyport audit record, version ${AUDIT_VERSION}`,
  };
}
