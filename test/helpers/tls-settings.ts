// What a worker's settings say of TLS, for tests that are about something else.
import { randomBytes } from 'node:crypto';
import { createAuthority } from '../../src/tls/authority.ts';
import type { ServeSettings } from '../../src/workers/messages.ts';

export const TLS_SETTINGS: Pick<
  ServeSettings,
  | 'deny'
  | 'bypass'
  | 'supportMessage'
  | 'approvals'
  | 'upstreamAuthorities'
  | 'clientCertificates'
  | 'authority'
  | 'ticketKeys'
> = {
  deny: 'connect',
  bypass: [],
  supportMessage: null,
  approvals: false,
  upstreamAuthorities: [],
  clientCertificates: [],
  authority: createAuthority({ name: 'Test Authority', nowMs: Date.now() }),
  ticketKeys: randomBytes(48),
};
