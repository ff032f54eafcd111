// Keeps what an organisation says in force: asks its source again and again, takes over what is new,
// and says how well it is known. Without a word for longer than the grace it grants nothing; what it
// denies stays, over restarts too.
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import { GOVERNANCE_STALE_MS } from '../../base/limits.ts';
import type { Governance } from '../../policy/precedence.ts';
import type { GivenPathRule } from '../policy/path-rules.ts';
import type { GivenRule, PolicyService } from '../policy/policy.ts';
import type { Store, SyncRecord } from '../store.ts';
import type { GivenRules } from './rules.ts';
import { failed, type GovernanceSource, type Word } from './source.ts';
import type { SyncState } from './status.ts';

export type SyncOptions = {
  readonly source: GovernanceSource;
  readonly policy: Pick<
    PolicyService,
    'govern' | 'setAvailable' | 'governance' | 'rules' | 'pathRules'
  >;
  readonly store: Pick<Store, 'syncRecord' | 'setSyncRecord'>;
  readonly clock: Clock;
  /** Between two looks; each is up to a tenth sooner or later, so that daemons do not ask all at once. */
  readonly intervalMs: number;
  /** How long what was granted holds without a word. */
  readonly graceMs: number;
  /** Tells the workers whom to ask about refusals. */
  readonly configure: () => Promise<void>;
  /** @param error  what is not the source's fault */
  readonly report: (message: string, error: unknown) => void;
};

const MESSAGE_LENGTH_MAX = 500;
const SETTLE_MS_MAX = 60_000; // A timer knows nothing of a machine that slept, or of a clock that was set.
const NOT_YET = 'an organization that is not known yet';

export class GovernanceSync {
  readonly #options: SyncOptions;
  readonly #closing = new AbortController();
  #record: SyncRecord | null;
  #failure: string | null = null;
  /** What the workers know to say; they are told at their start. */
  #told: string | null;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  #timer: NodeJS.Timeout | undefined;
  /** Goes off when grants end, be a look under way or not. */
  #end: NodeJS.Timeout | undefined;

  private constructor(options: SyncOptions) {
    this.#options = options;
    const record = options.store.syncRecord();
    this.#record = record?.source === options.source.name ? record : null;
    this.#told = options.policy.governance?.supportMessage ?? null;
  }

  /**
   * Puts in force what is known from before, as far as it still holds; asks nobody yet.
   *
   * @throws what a change of the policy throws
   */
  static async begin(options: SyncOptions): Promise<GovernanceSync> {
    const sync = new GovernanceSync(options);
    const { policy, source } = options;
    if (policy.governance === null) {
      const organization = source.organization ?? NOT_YET;
      const nothing = { organization, delegates: [], available: false, supportMessage: null };
      await policy.govern(nothing);
    }
    await sync.#settle();
    return sync;
  }

  get state(): SyncState {
    return {
      status: this.#status(),
      lastSyncedMs: this.#record?.syncedMs ?? null,
      message: this.#failure,
    };
  }

  /**
   * Asks now, and goes on asking in intervals.
   *
   * @returns when what the source says from now on is in force.
   * @throws SALLYPORT_GOVERNANCE_FAILED; what was in force stays, within its grace.
   */
  refresh(): Promise<void> {
    if (this.#running === null) return this.#run();
    // What runs may have read before the change that the caller knows of.
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = null;
        return this.#run();
      });
    return this.#next;
  }

  /** Gives up what runs; what is in force stays. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#end);
    await Promise.allSettled([this.#running, this.#next]);
  }

  #run(): Promise<void> {
    clearTimeout(this.#timer);
    this.#running = this.#look().finally(() => {
      this.#running = null;
      this.#schedule();
    });
    return this.#running;
  }

  async #look(): Promise<void> {
    const { source } = this.#options;
    try {
      if (this.#closing.signal.aborted) throw failed('the daemon is stopping');
      const word = await source.fetch(this.#record, this.#closing.signal);
      await this.#take(word);
      if (this.#failure !== null) this.#options.report('the organization can be asked again', null);
      this.#failure = null;
    } catch (error) {
      await this.#fail(error);
    }
  }

  /** @throws SALLYPORT_GOVERNANCE_FAILED always */
  async #fail(error: unknown): Promise<never> {
    const message = messageOf(error);
    if (!this.#closing.signal.aborted) {
      if (message !== this.#failure) this.#options.report(message, error);
      this.#failure = message;
      await this.#settle().catch((fault: unknown) => this.#options.report(messageOf(fault), fault));
    }
    throw new SallyportError('SALLYPORT_GOVERNANCE_FAILED', message, { cause: error });
  }

  /** The rules first: a record of what is not in force would promise more than there is. */
  async #take(word: Word): Promise<void> {
    const { policy, source, clock, configure } = this.#options;
    const { organization, supportMessage, delegates, expiresMs, serial, digest } = word;
    const governance = { organization, delegates, available: true, supportMessage };
    this.#announce(word);
    if (!isSame(policy, governance, word)) {
      await policy.govern(governance, word.rules, word.pathRules);
    }
    this.#keep({ source: source.name, syncedMs: clock.wallMs(), expiresMs, serial, digest });
    if (this.#told !== supportMessage) await configure();
    this.#told = supportMessage;
    await this.#settle(); // It may have ended while it was read.
  }

  /**
   * What a death before the record must not undo: that the rules end sooner than those before, and
   * that no document older than theirs is taken any more. It prolongs nothing.
   */
  #announce(word: Word): void {
    const { serial, digest } = word;
    const { source } = this.#options;
    const nothing = {
      source: source.name,
      syncedMs: null,
      expiresMs: null,
      serial: null,
      digest: null,
    };
    const before = this.#record ?? nothing;
    const isSooner = this.#record !== null && endOf(word) < endOf(before);
    if (!isSooner && serial === before.serial) return;
    const expiresMs = isSooner ? word.expiresMs : before.expiresMs;
    const seen = serial === before.serial ? {} : { serial, digest };
    this.#keep({ ...before, expiresMs, ...seen });
  }

  #keep(record: SyncRecord): void {
    this.#options.store.setSyncRecord(record);
    this.#record = record;
  }

  /** Grants hold as long as the word is young enough; looked at again when it no longer is. */
  async #settle(): Promise<void> {
    const leftMs = this.#leftMs();
    clearTimeout(this.#end);
    if (leftMs > 0 && !this.#closing.signal.aborted) {
      const later = (): Promise<void> =>
        this.#settle().catch((error: unknown) => this.#options.report(messageOf(error), error));
      this.#end = setTimeout(
        () => void later(),
        Math.min(Math.ceil(leftMs), SETTLE_MS_MAX),
      ).unref();
    }
    await this.#options.policy.setAvailable(leftMs > 0);
  }

  /** How long grants still hold; 0: they do not. */
  #leftMs(): number {
    const { clock, graceMs } = this.#options;
    const syncedMs = this.#record?.syncedMs ?? null;
    if (this.#record === null || syncedMs === null) return 0;
    const nowMs = clock.wallMs();
    // A clock that was put back says nothing of how long it has been.
    const left = graceMs - Math.abs(nowMs - syncedMs);
    return Math.max(0, Math.min(left, endOf(this.#record) - nowMs));
  }

  #status(): SyncState['status'] {
    const { policy, clock, intervalMs } = this.#options;
    const syncedMs = this.#record?.syncedMs ?? null;
    if (policy.governance?.available !== true || syncedMs === null) return 'unavailable';
    const ageMs = Math.abs(clock.wallMs() - syncedMs);
    if (ageMs > Math.max(GOVERNANCE_STALE_MS, 3 * intervalMs)) return 'stale';
    return this.#failure === null ? 'ok' : 'failed';
  }

  #schedule(): void {
    if (this.#closing.signal.aborted) return;
    const waitMs = this.#options.intervalMs * (0.9 + 0.2 * Math.random());
    this.#timer = setTimeout(() => void this.refresh().catch(() => {}), waitMs).unref();
  }
}

function endOf({ expiresMs }: Pick<SyncRecord, 'expiresMs'>): number {
  return expiresMs ?? Number.POSITIVE_INFINITY;
}

/** Whether taking this over would change anything. */
function isSame(
  policy: Pick<PolicyService, 'governance' | 'rules' | 'pathRules'>,
  governance: Governance,
  { rules, pathRules }: GivenRules,
): boolean {
  const { governance: before } = policy;
  const theirs = policy.rules.filter(({ source }) => source === 'remote');
  const theirPaths = policy.pathRules.filter(({ source }) => source === 'remote');
  if (theirs.length !== rules.length || before === null) return false;
  const kept = JSON.stringify([
    before.organization,
    before.available,
    before.supportMessage,
    before.delegates,
    theirs.map(factsOf),
    theirPaths.map(pathFactsOf),
  ]);
  const { organization, available, supportMessage, delegates } = governance;
  const told = [organization, available, supportMessage, delegates];
  return kept === JSON.stringify([...told, rules.map(factsOf), pathRules.map(pathFactsOf)]);
}

function pathFactsOf(rule: GivenPathRule): unknown[] {
  const { id, name, decision, access, patterns, policy } = rule;
  const texts = patterns.map(({ text }) => text);
  return [id, name, decision, access, texts, policy?.id, policy?.name];
}

function factsOf(rule: GivenRule): unknown[] {
  const { id, name, decision, resources, protocols, http, policy } = rule;
  const texts = resources.map(({ text }) => text);
  return [
    id,
    name,
    decision,
    texts,
    protocols,
    http?.methods,
    http?.paths,
    policy?.id,
    policy?.name,
  ];
}

/** For people: short, and without what would move their cursor. What is no word of ours is a defect. */
function messageOf(error: unknown): string {
  const text = error instanceof SallyportError ? error.message : 'it failed; see the daemon log';
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
  return plain.length <= MESSAGE_LENGTH_MAX ? plain : `${plain.slice(0, MESSAGE_LENGTH_MAX)}...`;
}
