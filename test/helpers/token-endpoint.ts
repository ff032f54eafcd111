// A token endpoint (RFC 6749 section 3.2) over real TLS: checks each question, and gives tokens out,
// unless a test has it do something else.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { type Issued, localhostCertificate } from './certificates.ts';

export const certificate = localhostCertificate();

export type Asked = {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly form: Readonly<Record<string, string>>;
};

export type TokenEndpoint = {
  readonly url: string;
  readonly port: number;
  /** Every question, oldest first. */
  readonly asked: Asked[];
  /** The one refresh token that is good; another takes its place at each use while `rotates`. */
  refreshToken: string;
  rotates: boolean;
  /** Of the access tokens, in seconds; undefined: not told. */
  expiresIn: number | string | undefined;
  /** What it does instead of giving tokens. */
  instead: ((response: ServerResponse, asked: Asked) => void) | null;
};

export async function tokenEndpoint(t: Test, issued: Issued = certificate): Promise<TokenEndpoint> {
  let count = 0;
  const server = createServer(issued, async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const form = Object.fromEntries(new URLSearchParams(Buffer.concat(pieces).toString()));
    const { method = '', url = '', headers } = request;
    const asked = { method, path: url, headers, form };
    endpoint.asked.push(asked);
    if (endpoint.instead !== null) endpoint.instead(response, asked);
    else give(asked, response);
  });
  const give = ({ form }: Asked, response: ServerResponse): void => {
    const refreshing = form.grant_type === 'refresh_token';
    if (refreshing && form.refresh_token !== endpoint.refreshToken) {
      json(response, 400, { error: 'invalid_grant', error_description: 'LEAKED' });
      return;
    }
    count++;
    if (refreshing && endpoint.rotates) endpoint.refreshToken = `refresh-${count}`;
    json(response, 200, {
      access_token: `access-${count}`,
      token_type: 'Bearer',
      expires_in: endpoint.expiresIn,
      ...(refreshing && endpoint.rotates ? { refresh_token: endpoint.refreshToken } : {}),
    });
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const endpoint: TokenEndpoint = {
    url: `https://localhost:${port}/token`,
    port,
    asked: [],
    refreshToken: 'refresh-0',
    rotates: false,
    expiresIn: 3_600,
    instead: null,
  };
  return endpoint;
}

export function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
