// What is told of the organisation that governs: in checks, in listings, in its own answer.
import type { Governance } from '../../policy/precedence.ts';

/** How well its policies are known here. */
export type SyncState = {
  /** ok: as it says at present. failed: the last attempt; stale: none succeeded for long. */
  readonly status: 'ok' | 'failed' | 'stale' | 'unavailable';
  /** Wall clock; null: never. */
  readonly lastSyncedMs: number | null;
  /** Why the last attempt failed. */
  readonly message: string | null;
};

/** The `governance` of sbx's answers. */
export type GovernanceFacts = {
  readonly active: boolean;
  readonly organization?: string;
  readonly organization_unavailable?: boolean;
  readonly last_synced_status?: string;
  readonly last_synced_message?: string;
  readonly last_synced_at?: string;
};

export function governanceFacts(
  governance: Governance | null,
  sync: SyncState | null,
): GovernanceFacts {
  if (governance === null) return { active: false };
  return {
    active: true,
    organization: governance.organization,
    ...(!governance.available && { organization_unavailable: true }),
    ...(sync !== null && syncFacts(sync)),
  };
}

function syncFacts({ status, message, lastSyncedMs }: SyncState): Partial<GovernanceFacts> {
  return {
    last_synced_status: status,
    ...(message !== null && { last_synced_message: message }),
    ...(lastSyncedMs !== null && { last_synced_at: new Date(lastSyncedMs).toISOString() }),
  };
}
