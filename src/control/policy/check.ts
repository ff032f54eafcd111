// `policy check`: asks the daemon's own lane, over the same image and through the same function as
// the workers, and words the answer as sbx does.
import { X509Certificate } from 'node:crypto';
import { SallyportError } from '../../base/errors.ts';
import { type ClientCertificate, certificateId } from '../../credentials/client-certificate.ts';
import type { Credentials } from '../../credentials/inject.ts';
import { isAddress } from '../../policy/address.ts';
import type { Matcher } from '../../policy/decision.ts';
import {
  type AddressGuard,
  type AskedRequest,
  judgeTarget,
  judgeTunnel,
  type TargetVerdict,
  type TunnelVerdict,
} from '../../policy/judge.ts';
import { ruleLabel } from '../../policy/reasons.ts';
import { resourceMatches } from '../../policy/reference.ts';
import { formatHostPort, parseResources } from '../../policy/resource.ts';
import { GLOBAL_SCOPE, type Protocol } from '../../policy/rule.ts';
import { parseTarget } from '../../policy/target.ts';
import type { CheckResult } from '../api/schemas.ts';
import type { GovernanceFacts } from '../governance/status.ts';
import { scopeName } from './listing.ts';
import type { ScopeNames } from './policy.ts';

export type CheckRequest = {
  readonly target: string;
  readonly sandbox_id?: string | undefined;
  readonly protocol: Protocol;
  /** Of one request; GET when the target has a path. */
  readonly method?: string | undefined;
  /** Tell of interception too. */
  readonly verbose?: boolean | undefined;
};

/** What decides on interception, as the workers have it at present. */
export type InterceptionFacts = () => {
  readonly credentials: Credentials;
  /** The client certificate for a destination. */
  readonly certificateFor: (host: string, port: number) => ClientCertificate | null;
  readonly bypass: readonly string[];
  readonly deny: 'inside' | 'connect';
};

type Interception = NonNullable<CheckResult['interception']>;

/** The workers' own order: a refusal, the bypass list, what is bound. */
function interceptionOf(
  { credentials, certificateFor, bypass, deny }: ReturnType<InterceptionFacts>,
  { scope, host, port }: { scope: number; host: string; port: number },
  { allowed, tunnel }: { allowed: boolean; tunnel: TunnelVerdict },
): Interception {
  const certificate = certificateFor(host, port);
  const injected = credentials.explain(scope, host, port);
  const bound = certificate === null ? injected : [...injected, explained(certificate)];
  const told = (intercepted: boolean, reason: string): Interception => ({
    intercepted,
    reason,
    credentials: intercepted && allowed ? bound : [],
  });
  if (tunnel.way === 'closed') return told(false, 'a rule for CONNECT refuses it');
  const passed = bypass.flatMap((one) => parseResources(one));
  const isPassed = passed.some((resource) => resourceMatches(resource, host, port));
  if (tunnel.way === 'by-request') {
    return isPassed
      ? told(false, 'it is on the bypass list, and refused, since HTTP rules cover it')
      : told(true, 'HTTP rules cover it');
  }
  if (!allowed) {
    return deny === 'inside'
      ? told(true, 'it is denied, and the refusal is told inside TLS')
      : told(false, 'it is denied');
  }
  if (isPassed) return told(false, 'it is on the bypass list');
  if (credentials.tokenEndpoints.has(scope, host, port))
    return told(true, 'it has a token endpoint');
  if (bound.length === 0) return told(false, 'no credential is bound to it');
  return told(
    true,
    `a ${injected.length > 0 ? 'credential' : 'client certificate'} is bound to it`,
  );
}

function explained(certificate: ClientCertificate): Interception['credentials'][number] {
  const { subject, validTo } = new X509Certificate(certificate.chain);
  const whose = subject === undefined ? '' : `, ${subject.replaceAll('\n', ', ')}`;
  return {
    id: certificateId(certificate.resource),
    name: certificate.resource,
    kind: 'client-certificate',
    policy: `presented when asked for${whose}, until ${validTo}`,
  };
}

/** @throws SALLYPORT_USAGE for what is no method (RFC 9110 section 9.1) */
export function requestOf(
  method: string | undefined,
  path: string | null,
): AskedRequest | undefined {
  if (method === undefined && path === null) return undefined;
  if (method !== undefined && !/^[A-Za-z-]{1,32}$/.test(method)) {
    throw new SallyportError('SALLYPORT_USAGE', `"${method}" is no method`);
  }
  const name = method?.toUpperCase() ?? 'GET';
  return { method: name, target: name === 'CONNECT' ? '' : (path ?? '/') };
}

function actionOf(protocol: Protocol, asked: AskedRequest | undefined): string {
  return asked === undefined
    ? `net:connect:${protocol}`
    : `net:request:${asked.method.toLowerCase()}`;
}

/** @throws SALLYPORT_NOT_FOUND for an unknown sandbox, SALLYPORT_TARGET_INVALID */
export function checkTarget(
  services: {
    readonly matcher: Matcher;
    readonly sandboxes: ScopeNames;
    readonly addressGuard: AddressGuard;
    readonly governance: () => GovernanceFacts;
    readonly interception: InterceptionFacts;
  },
  { target, sandbox_id: sandbox, protocol, method, verbose }: CheckRequest,
): CheckResult {
  const { matcher, sandboxes, addressGuard } = services;
  const scope = sandbox === undefined ? GLOBAL_SCOPE : sandboxes.numberOf(sandbox);
  const { host, port, path } = parseTarget(target);
  const asked = requestOf(method, path);
  const question = { scope, host, port, protocol };
  const verdict = judgeTarget(matcher, question, addressGuard, asked);
  const allowed = verdict.action === 'allow';
  // Where no HTTP rule asks for it, the path of a URL says no more than sbx makes of it.
  const told = verdict.http || method !== undefined ? asked : undefined;
  const place = formatHostPort(host, port) + (told?.target ?? '');
  const about = {
    action: actionOf(protocol, told),
    allowed,
    context: scopeName(scope, sandboxes),
    governance: services.governance(),
    resource_type: isAddress(host) ? 'net:ip' : 'net:domain',
    resource_value: place,
    target: place,
    type: 'network' as const,
    ...(verbose && {
      interception: interceptionOf(
        services.interception(),
        { scope, host, port },
        { allowed, tunnel: judgeTunnel(matcher, question, addressGuard) },
      ),
    }),
    generation: verdict.generation,
  };
  return { ...about, ...ruleFacts(verdict) };
}

function ruleFacts({ action, kind, rule, source, reason }: TargetVerdict): Partial<CheckResult> {
  const named = rule === null ? null : ruleLabel(rule);
  if (action === 'allow') return named === null ? {} : { matched_rule: named };
  return {
    deny_kind: kind,
    ...(source === null ? {} : { origin: source === 'remote' ? 'org' : source }),
    ...(reason === null ? {} : { reason }),
    ...(named === null ? {} : { rule: named }),
  };
}
