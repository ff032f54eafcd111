// What workers are told, for tests that are about something else.
import { createHash, randomBytes } from 'node:crypto';
import { createAuthority } from '../../src/tls/authority.ts';
import type { SandboxRecord, ServeSettings } from '../../src/workers/messages.ts';

/** Loopback, whichever port is free; whoever has no token is `box`. */
export const SERVE_SETTINGS: ServeSettings = {
  listen: { kind: 'tcp', host: '127.0.0.1', port: 0 },
  reusePort: true,
  defaultSandbox: 'box',
  addressGuard: 'strict',
  via: false,
  forwardedFor: false,
  ownAddresses: [],
  dnsServers: [],
  logLevel: 'info',
  deny: 'connect',
  bypass: [],
  supportMessage: null,
  approvals: false,
  upstreamAuthorities: [],
  clientCertificates: [],
  authority: createAuthority({ name: 'Test Authority', nowMs: Date.now() }),
  ticketKeys: randomBytes(48),
};

/** Of scope 1, with the token `token`, unless said otherwise. */
export function sandboxRecord(name = 'box', facts: Partial<SandboxRecord> = {}): SandboxRecord {
  return {
    name,
    scope: 1,
    tokenSha256: createHash('sha256').update('token').digest('hex'),
    listen: null,
    sourceAddress: null,
    deny: null,
    phase: 'runtime',
    ...facts,
  };
}
