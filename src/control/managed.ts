// What the API changes and the workers go by: rules, sandboxes, secrets, the authority.
import type { Logger } from 'pino';
import { Vault } from '../credentials/vault.ts';
import type { Publisher } from '../matcher/publish.ts';
import { styleOf } from '../policy/file-path.ts';
import type { WorkerPool } from '../workers/pool.ts';
import { Decisions } from './audit/decided.ts';
import { Authority } from './authority.ts';
import type { Closing } from './closing.ts';
import type { Configuration } from './configuration.ts';
import { Disk } from './disk.ts';
import { Approvals, approvalRecord } from './policy/approvals.ts';
import { Expiry } from './policy/expiry.ts';
import { provisionKit, restoreKits } from './policy/kits.ts';
import { Mounts } from './policy/mounts.ts';
import { PolicyService } from './policy/policy.ts';
import { Sandboxes } from './sandboxes.ts';
import { Secrets } from './secrets/secrets.ts';
import type { State } from './state.ts';
import type { StoredSandbox } from './store.ts';
import { describe, type Surroundings } from './surroundings.ts';
import { TrustFiles } from './trust.ts';

export type Managed = {
  readonly policy: PolicyService;
  readonly mounts: Mounts;
  readonly approvals: Approvals;
  readonly sandboxes: Sandboxes;
  readonly secrets: Secrets;
  readonly authority: Authority;
  readonly trust: TrustFiles;
  /** Null before there are any; then nobody has to be told. */
  readonly workers: { pool: WorkerPool | null };
  /** Tells all workers what holds now. */
  readonly configure: () => Promise<void>;
};

/** Rules, sandboxes and secrets: what the API changes and the workers go by. */
export async function manage(
  state: State,
  publisher: Publisher,
  configuration: Configuration,
  around: Surroundings,
  closing: Closing,
): Promise<Managed> {
  const { store, keys } = state;
  const { paths, clock, logger } = around;
  const workers: Managed['workers'] = { pool: null };
  const configure = async (): Promise<void> => {
    if (workers.pool === null) return;
    const records = sandboxes.records();
    configuration.supportMessage = policy.governance?.supportMessage ?? null;
    const settings = configuration.settings(records, authority);
    await workers.pool.configure(settings, records, secrets.bindings());
  };
  const dropScope = async (number: number): Promise<void> => {
    approvals.drop(number);
    await secrets.dropScope(number);
    await policy.dropScope(number); // Last: should either fail, none of its denies is gone.
  };
  const onChange = async (): Promise<void> => {
    await configure();
    trust.refresh();
  };
  const authority = new Authority({
    path: paths.authority,
    clock,
    onChange,
    onTrouble: troubleIn(logger, 'the authority, which ends soon, cannot be renewed'),
  });
  closing.push(() => authority.close());
  const trust = new TrustFiles({
    folder: paths.trust,
    authority: () => authority.material.trustPem,
    upstream: configuration.upstreamAuthorities,
    onTrouble: troubleIn(logger, 'the files for sandboxes cannot be written'),
  });
  trust.refresh();
  const provision = (sandbox: StoredSandbox): Promise<void> => provisionKit(sandbox, policy);
  const reservedPaths = [paths.socket];
  const sandboxes = new Sandboxes({ store, clock, configure, provision, dropScope, reservedPaths });
  const secrets = new Secrets({
    store: store.secrets,
    vault: new Vault(keys),
    clock,
    scopes: sandboxes,
    trusted: configuration.trusted,
    onChange: configure,
    report: (message, facts) => logger.warn(facts, message),
  });
  closing.push(() => secrets.close());
  const policy = await PolicyService.start(store, publisher, sandboxes, clock);
  closing.push(() => policy.settled());
  await restoreKits(sandboxes.list(), policy);
  const parts = { policy, sandboxes, state, configuration, around };
  const [mounts, approvals] = [mountsOf(parts), approvalsOf(parts, closing)];
  return { policy, mounts, approvals, sandboxes, secrets, authority, trust, workers, configure };
}

type Parts = {
  readonly policy: PolicyService;
  readonly sandboxes: Sandboxes;
  readonly state: State;
  readonly configuration: Configuration;
  readonly around: Surroundings;
};

function mountsOf({ policy, sandboxes, state, around: { paths, clock } }: Parts): Mounts {
  return new Mounts({
    policy,
    scopes: sandboxes,
    disk: new Disk(styleOf(process.platform)),
    home: paths.home,
    reserved: [paths.state, paths.config, paths.runtime, paths.vaultKey],
    decisions: new Decisions(state),
    clock,
  });
}

function approvalsOf(
  { policy, sandboxes, state, configuration, around: { clock, logger } }: Parts,
  closing: Closing,
): Approvals {
  const expiry = new Expiry(
    clock,
    (ids) => policy.end(ids),
    troubleIn(logger, 'rules that have ended are still in force'),
  );
  closing.push(() => expiry.close());
  expiry.watch(policy.rules);
  return new Approvals({
    policy,
    scopes: sandboxes,
    clock,
    mode: () => configuration.live.approvals,
    waitMs: () => configuration.live.approvalWaitMs,
    onNew: ({ id, sandbox, host, port }) =>
      logger.info({ approval: id, sandbox, host, port }, 'an approval is asked for'),
    onEnding: () => expiry.watch(policy.rules),
    onResponse: (responded) =>
      state.audit.append(approvalRecord(responded, clock.wallMs(), policy.generation)),
  });
}

function troubleIn(logger: Logger, what: string): (error: unknown) => void {
  return (error) => logger.error({ error: describe(error) }, what);
}
