// The one place where a failure becomes an answer to the client: the same facts as text for people
// and agents, and as application/problem+json (RFC 9457) for programs that ask for it.
import { STATUS_CODES } from 'node:http';
import { type Code, SallyportError } from '../base/errors.ts';
import { ruleLabel } from '../policy/reasons.ts';
import { formatHostPort } from '../policy/resource.ts';
import type { Answer, Outcome } from './exchange.ts';
import type { RequestHead } from './head.ts';

type Facts = Pick<
  Outcome,
  'host' | 'port' | 'rule' | 'source' | 'deny_kind' | 'reason' | 'verdict'
>;

/** RFC 9209 section 2.3: proxy error types, for clients that read Proxy-Status. */
const PROXY_ERRORS: Partial<Record<Code, string>> = {
  SALLYPORT_DENIED: 'http_request_denied',
  SALLYPORT_APPROVAL_REQUIRED: 'http_request_denied',
  SALLYPORT_ADDRESS_FORBIDDEN: 'destination_ip_prohibited',
  SALLYPORT_DNS_FAILED: 'dns_error',
  SALLYPORT_DNS_TIMEOUT: 'dns_timeout',
  SALLYPORT_UPSTREAM_UNREACHABLE: 'connection_refused',
  SALLYPORT_UPSTREAM_TIMEOUT: 'connection_timeout',
  SALLYPORT_UPSTREAM_MALFORMED: 'http_protocol_error',
  SALLYPORT_OVERLOADED: 'proxy_internal_error',
  SALLYPORT_AUDIT_UNAVAILABLE: 'proxy_internal_error',
  SALLYPORT_INTERNAL: 'proxy_internal_error',
};

const ORIGINS = { local: 'local policy', kit: 'kit policy', remote: 'corporate policy' } as const;

/** What is no fault of the client, the policy or the destination. */
export function defect(cause: unknown): SallyportError {
  return new SallyportError('SALLYPORT_INTERNAL', 'a defect of the proxy ended this exchange', {
    cause,
  });
}

/** @returns what a client wants to be answered in, for `refuse`. */
export function acceptOf({ fields }: Pick<RequestHead, 'fields'>): string | null {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() === 'accept') return fields[i + 1] ?? null;
  }
  return null;
}
const POLICY_CODES: ReadonlySet<Code> = new Set([
  'SALLYPORT_DENIED',
  'SALLYPORT_ADDRESS_FORBIDDEN',
  'SALLYPORT_APPROVAL_REQUIRED',
]);

/** Whether this failure is the policy speaking; upstream failures must never look like one. */
export function isPolicyRefusal(code: Code): boolean {
  return POLICY_CODES.has(code);
}

/**
 * Answers a failed exchange.
 *
 * @param accept          the client's Accept field, or null: JSON is sent to those who prefer it.
 * @param supportMessage  of the organisation that governs; null: none does.
 */
export function refuse(
  reply: Answer,
  error: SallyportError,
  facts: Facts,
  accept: string | null,
  supportMessage: string | null = null,
): void {
  const told = toldOf(error, facts, supportMessage);
  const json = accept !== null && prefersJson(accept);
  const content = Buffer.from(json ? problem(error, told) : text(error, told));
  const type = json ? 'application/problem+json' : 'text/plain; charset=utf-8';
  reply.start(
    error.status,
    STATUS_CODES[error.status] ?? '',
    `Content-Type: ${type}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n${codeFields(error, told)}`,
    content.length,
  );
  reply.data(content);
  reply.end('');
}

/** What the client may know: of an organisation's rules nothing but whom to ask. */
type Told = Facts & { readonly support: string | null };

function toldOf(error: SallyportError, facts: Facts, supportMessage: string | null): Told {
  const isTheirs = facts.source === 'remote' || facts.source === null;
  const support = isPolicyRefusal(error.code) && isTheirs ? supportMessage : null;
  return facts.source === 'remote' ? { ...facts, rule: null, support } : { ...facts, support };
}

function codeFields(error: SallyportError, facts: Facts): string {
  const type = PROXY_ERRORS[error.code];
  const lines = [`X-Sallyport-Code: ${error.code}`];
  if (type !== undefined) lines.push(`Proxy-Status: sallyport; error=${type}`);
  if (isPolicyRefusal(error.code) && facts.rule !== null) {
    lines.push(`X-Sallyport-Rule: ${facts.rule}`);
  }
  if (error.status === 407)
    lines.push('Proxy-Authenticate: Basic realm="sallyport", charset="UTF-8"');
  return `${lines.join('\r\n')}\r\n`;
}

const REVIEW = 'Review and respond with:\n  sbx policy approval ls';

/** First words and detail line are what agents and their hooks look for; keep them. */
function text(error: SallyportError, facts: Told): string {
  if (!isPolicyRefusal(error.code)) {
    return `Sallyport: ${error.message}\n  code: ${error.code}\n  hint: ${error.hint}\n`;
  }
  if (error.code === 'SALLYPORT_APPROVAL_REQUIRED') return `${error.message}.\n\n${REVIEW}\n`;
  const place = `domain ${formatHostPort(facts.host, facts.port)}`;
  const lines = [`Blocked by network policy: ${place}`];
  if (facts.source === 'remote') {
    lines[0] = `Blocked by org policy: ${place}`;
    lines.push(`  origin: ${ORIGINS.remote}`);
  } else if (error.code === 'SALLYPORT_ADDRESS_FORBIDDEN') {
    lines.push(`  detail: ${error.message}`);
  } else if (facts.rule === null) {
    lines.push('  detail: no matching allow rule — blocked by default deny policy');
  } else {
    lines.push(`  rule:   "${ruleLabel(facts.rule)}" (domain, deny)`);
    lines.push(`  origin: ${ORIGINS[facts.source ?? 'local']}`);
    lines.push(`  detail: ${facts.reason ?? 'Denied by local rule'}`);
  }
  if (facts.support !== null) lines.push(`  support: ${facts.support}`);
  return `${lines.join('\n')}\n`;
}

const THEIRS = 'the policy of the organization does not allow it';

function problem(error: SallyportError, facts: Told): string {
  const refusal = isPolicyRefusal(error.code);
  return JSON.stringify({
    type: `urn:sallyport:error:${error.code}`,
    title: refusal ? titleOf(error.code) : STATUS_CODES[error.status],
    status: error.status,
    detail: refusal && facts.source === 'remote' ? THEIRS : error.message,
    code: error.code,
    hint: error.hint,
    host: facts.host,
    port: facts.port,
    ...(refusal && {
      rule: facts.rule,
      origin: facts.source === null ? null : ORIGINS[facts.source],
      deny_kind: facts.deny_kind,
      ...(facts.support !== null && { support: facts.support }),
    }),
  });
}

function titleOf(code: Code): string {
  return code === 'SALLYPORT_APPROVAL_REQUIRED' ? 'Approval required' : 'Blocked by network policy';
}

/** JSON counts when it is named, and HTML or plain text is not named before it. */
function prefersJson(accept: string): boolean {
  const json = accept.search(/application\/(problem\+)?json/i);
  const other = accept.search(/text\/(plain|html)/i);
  return json >= 0 && (other < 0 || json < other);
}
