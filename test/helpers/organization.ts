// An organisation for tests: its policies, and a server that gives them as the public Governance API
// has it, written from its description alone and apart from ours.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import type { Issued } from './certificates.ts';

type Rule = {
  readonly name?: string;
  readonly actions?: readonly string[];
  readonly resources?: readonly string[];
  readonly http_resources?: readonly object[];
  readonly decision: 'allow' | 'deny';
} & Readonly<Record<string, unknown>>;

export type Policy = { readonly id: string } & Readonly<Record<string, unknown>>;

/** A policy as the API gives it. @param more  what differs */
export function policyOf(number: number, rules: readonly Rule[], more: object = {}): Policy {
  return {
    id: `pol_${number}`,
    name: `policy ${number}`,
    org: 'my-org',
    scope: { teams: [] },
    created_at: '2026-01-02T03:04:05Z',
    updated_at: '2026-01-02T03:04:05Z',
    type: 'allowlist_v0',
    allowlist_v0: {
      domain: 'network',
      rules: rules.map((rule, index) => ({
        id: `rule_${number}_${index + 1}`,
        name: `rule ${index + 1}`,
        actions: ['connect:tcp'],
        ...rule,
      })),
    },
    ...more,
  };
}

export type OrganizationServer = {
  /** Of the organisation. */
  readonly url: string;
  /** `GET /v2/...`, in order. */
  readonly asked: string[];
  readonly tokens: Set<string>;
  policies: readonly Policy[];
  /** Of the extension; null: there is none, as at Docker's. */
  settings: object | null;
  /** Policies of a page. */
  page: number;
  /** Whether answers have entity tags. */
  tags: boolean;
  /** Answers in its place, unless it gives false. */
  instead: ((request: IncomingMessage, response: ServerResponse) => boolean) | null;
  stop(): Promise<void>;
};

const ROOT = '/v2/orgs/my-org';

export async function organizationServer(
  t: Pick<Test, 'teardown'>,
  { issued, port = 0 }: { issued?: Issued; port?: number } = {},
): Promise<OrganizationServer> {
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    organization.asked.push(`${request.method} ${request.url}`);
    if (!organization.instead?.(request, response)) answer(organization, request, response);
  };
  const server = issued === undefined ? createServer(handle) : createTlsServer(issued, handle);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  const scheme = issued === undefined ? 'http' : 'https';
  const organization: OrganizationServer = {
    url: `${scheme}://localhost:${address.port}${ROOT}`,
    asked: [],
    tokens: new Set(['TOKEN']),
    policies: [],
    settings: null,
    page: 100,
    tags: false,
    instead: null,
    stop: async () => {
      server.closeAllConnections();
      if (server.listening) await new Promise((done) => server.close(done));
    },
  };
  t.teardown(() => organization.stop());
  return organization;
}

function answer(
  organization: OrganizationServer,
  { headers, url = '' }: IncomingMessage,
  response: ServerResponse,
): void {
  const bearer = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? '';
  const body = organization.tokens.has(bearer) ? answerTo(organization, url) : null;
  const tag = `"${JSON.stringify(body).length}-${hash(JSON.stringify(body))}"`;
  if (organization.tags) response.setHeader('etag', tag);
  if (!organization.tokens.has(bearer)) give(response, 401, errorBody('unauthenticated'));
  else if (body === null) give(response, 404, errorBody('not_found'));
  else if (headers['if-none-match'] === tag) response.writeHead(304).end();
  else give(response, 200, body);
}

export function give(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

export function errorBody(code: string): object {
  return { error: { code, message: 'LEAKED' } };
}

function answerTo({ policies, page, settings }: OrganizationServer, target: string): object | null {
  const { pathname, searchParams } = new URL(target, 'http://localhost');
  if (pathname === `${ROOT}/governance/settings`) return settings;
  if (pathname === `${ROOT}/governance/policies`) {
    const from = Number(searchParams.get('page_token') ?? 0);
    const size = Math.min(page, Number(searchParams.get('page_size')));
    const next = from + size < policies.length ? String(from + size) : null;
    const data = policies.slice(from, from + size).map(({ allowlist_v0, cedar_v1, ...one }) => one);
    return { data, next_page_token: next };
  }
  const id = /\/governance\/policies\/([^/]+)$/.exec(pathname)?.[1];
  return policies.find((one) => one.id === id) ?? null;
}

function hash(text: string): number {
  return [...text].reduce((sum, letter) => (Math.imul(sum, 31) + letter.charCodeAt(0)) | 0, 7);
}
