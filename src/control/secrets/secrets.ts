// The secrets: who may use which credential, and what it is at the moment. A change is on the disk,
// sealed, and with all workers before it is answered. Values leave here for workers, and nowhere else.
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import { SECRET_RETRY_MS, SECRETS_MAX } from '../../base/limits.ts';
import type { Binding } from '../../credentials/binding.ts';
import { type OAuthSecrets, OAuthSource } from '../../credentials/oauth.ts';
import { newPlaceholderKey } from '../../credentials/placeholder.ts';
import { ON_DEMAND_MS, type Source } from '../../credentials/sources.ts';
import type { SignedIn } from '../../credentials/token-exchange.ts';
import type { Vault } from '../../credentials/vault.ts';
import { GLOBAL_SCOPE } from '../../policy/rule.ts';
import type { SecretsAnswer } from '../api/schemas-secret.ts';
import type { ScopeNames } from '../policy/policy.ts';
import { bindingOf } from './binding.ts';
import {
  changed,
  Entry,
  type Imported,
  inOrder,
  type SourceSurroundings,
  type Stored,
  signedInDraft,
  sourceOf,
  tried,
} from './entry.ts';
import {
  customDraft,
  type Draft,
  draftsOf,
  type NewCustom,
  type NewOAuth,
  type NewRegistry,
  type NewService,
  oauthDraft,
  type Placing,
  registryDraft,
  serviceDraft,
} from './input.ts';
import { listSecrets, type SecretFilter, scopeText, secretText } from './listing.ts';
import { type SecretSelector, selectSecrets } from './selector.ts';
import { HOST_ONLY_SCOPE, type SecretStore, type StoredSecret } from './store.ts';

export type SecretsOptions = {
  readonly store: SecretStore;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly scopes: ScopeNames;
  /** What a token endpoint may be certified by, and what it is presented. */
  readonly trusted: SourceSurroundings['trusted'];
  /** Hands the bindings to all workers; resolves when all of them have them. */
  readonly onChange: () => Promise<void>;
  /** Something about a secret that the operator should know. */
  readonly report: (message: string, facts: { secret: string; error: string }) => void;
};

export class Secrets {
  readonly #options: SecretsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #closing = new AbortController();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SecretsOptions) {
    this.#options = options;
    for (const secret of options.store.all()) this.#keep(this.#entryOf(secret));
  }

  /** What people may see of them, in order of scope, kind and name. */
  list(filter: SecretFilter): SecretsAnswer {
    return listSecrets(this.#sorted(), this.#options.scopes, filter);
  }

  /**
   * What workers are told. An empty value stands for one that cannot be had at present: a request
   * that needs it must fail, not go without.
   */
  bindings(): Binding[] {
    return this.#sorted().flatMap((entry) => bindingOf(entry) ?? []);
  }

  /** Fetches what commands give, in the background: a slow one keeps no daemon from starting. */
  start(): void {
    for (const entry of this.#entries.values()) void this.#refresh(entry);
  }

  /** Ends all commands and waits for the change under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    await this.#turn;
  }

  /**
   * Stores the secret of a service, or of a registry.
   *
   * @throws SALLYPORT_SECRET_INVALID naming every fault, SALLYPORT_CONFLICT for one that is there,
   *   SALLYPORT_NOT_FOUND for a sandbox.
   */
  async set(wanted: NewService | NewRegistry): Promise<Stored> {
    if ('service' in wanted) return this.#put(serviceDraft(wanted), wanted, GLOBAL_SCOPE);
    const scope = wanted.allSandboxes ? GLOBAL_SCOPE : HOST_ONLY_SCOPE;
    return this.#put(registryDraft(wanted), wanted, scope);
  }

  /** Stores a secret that stands for its placeholder. @throws what `set` throws */
  async setCustom(wanted: NewCustom): Promise<Stored> {
    return this.#put(customDraft(wanted), wanted, GLOBAL_SCOPE);
  }

  /** Stores a grant whose access tokens are put into requests. @throws what `set` throws */
  async setOAuth(wanted: NewOAuth): Promise<Stored> {
    const draft = oauthDraft(wanted);
    const verify = draft.oauth?.signInInside ? false : wanted.verify; // There is nothing to try.
    return this.#put(draft, { ...wanted, verify }, GLOBAL_SCOPE);
  }

  /**
   * Stores secrets of services for all sandboxes, all or none; leaves those alone that are there,
   * unless `replace`, and grants in any case: nothing in an environment gives one back.
   *
   * @throws SALLYPORT_SECRET_INVALID naming every fault of every one
   */
  import(wanted: readonly NewService[], replace: boolean): Promise<Imported[]> {
    return this.#inTurn(async () => {
      const drafts = draftsOf(wanted);
      const results = drafts.map((draft) => {
        const there = this.#sameAs(draft, GLOBAL_SCOPE);
        const taken = replace && there?.secret.oauth === null;
        const state = there === undefined ? 'imported' : taken ? 'replaced' : 'skipped';
        return { draft, there, state } as const;
      });
      const taken = results.filter(({ state }) => state !== 'skipped');
      const add = await Promise.all(
        taken.map(({ draft, there }) => this.#made(draft, GLOBAL_SCOPE, there, null)),
      );
      await this.#change(
        taken.flatMap(({ there }) => there ?? []),
        add,
      );
      return results.map(({ draft, state }) => ({ service: draft.name, state }));
    });
  }

  /**
   * Removes secrets; those that cannot be decrypted, too.
   *
   * @throws SALLYPORT_USAGE, SALLYPORT_NOT_FOUND
   */
  remove(selector: SecretSelector): Promise<StoredSecret[]> {
    return this.#inTurn(async () => {
      const secrets = this.#sorted().map(({ secret }) => secret);
      const removed = selectSecrets(secrets, selector, this.#options.scopes);
      const entries = removed.flatMap(({ id }) => this.#entries.get(id) ?? []);
      await this.#change(entries, []);
      return removed;
    });
  }

  /** Removes all secrets of one sandbox. */
  dropScope(number: number): Promise<void> {
    return this.#inTurn(() => {
      const theirs = this.#sorted().filter(({ secret }) => secret.scope === number);
      return this.#change(theirs, []);
    });
  }

  /**
   * Makes sure that the value of a secret fetched on demand is fresh.
   *
   * @param renew  another access token is wanted: the destination refuses the last one.
   * @returns when all workers have it.
   * @throws SALLYPORT_CREDENTIAL_UNAVAILABLE
   */
  async demand(id: string, renew = false): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    try {
      await this.#renew(entry, (source) =>
        renew && source instanceof OAuthSource ? source.another() : source.value(),
      );
    } catch (error) {
      this.#reportFailure(entry, error);
      throw error;
    }
  }

  /**
   * Keeps what a sandbox signed in for, as that sandbox's own grant.
   *
   * @returns when it is on the disk and all workers have it.
   * @throws SALLYPORT_CREDENTIAL_UNAVAILABLE when it may not sign in there any more.
   */
  keepSignedIn(signedIn: SignedIn): Promise<void> {
    const { clock, scopes } = this.#options;
    return this.#inTurn(async () => {
      const { scope } = signedIn;
      const declared = this.#entries.get(signedIn.id)?.secret;
      if (declared === undefined || scopes.nameOf(scope) === undefined) throw changed();
      const there = this.#sameAs(declared, scope);
      const draft = signedInDraft(declared, there?.secret, signedIn, clock.wallMs());
      const source = this.#sourceOf(draft, draft.value);
      const entry = await this.#made(draft, scope, there, source);
      await this.#change(there === undefined ? [] : [there], [entry]);
      entry.told = entry.value;
    });
  }

  async #put(draft: Draft, given: Placing, scopeOtherwise: number): Promise<Stored> {
    const scopeOf = (): number =>
      given.sandbox === undefined ? scopeOtherwise : this.#options.scopes.numberOf(given.sandbox);
    const source = this.#sourceOf(draft, draft.value);
    this.#replaceable(draft, scopeOf(), given.replace); // Before a source is asked for nothing.
    if (source !== null && given.verify !== false) await tried(source);
    return this.#inTurn(async () => {
      const scope = scopeOf(); // Again: sandboxes and secrets may have gone and come meanwhile.
      const there = this.#replaceable(draft, scope, given.replace);
      const entry = await this.#made(draft, scope, there[0], source);
      await this.#change(there, [entry]);
      entry.told = entry.value;
      if (entry.value === null) void this.#refresh(entry);
      return { held: entry, replaced: there.length > 0 };
    });
  }

  /**
   * What a secret takes the place of. A registry is the host's alone or everybody's, never both.
   *
   * @throws SALLYPORT_CONFLICT unless `replace`
   */
  #replaceable(draft: Draft, scope: number, replace = false): Entry[] {
    const other = scope === GLOBAL_SCOPE ? HOST_ONLY_SCOPE : GLOBAL_SCOPE;
    const scopes = draft.kind === 'registry' && scope <= GLOBAL_SCOPE ? [scope, other] : [scope];
    const there = scopes.flatMap((one) => this.#sameAs(draft, one) ?? []);
    const [first] = there;
    if (first === undefined || replace) return there;
    const where = scopeText(first.secret.scope, this.#options.scopes);
    throw new SallyportError(
      'SALLYPORT_CONFLICT',
      `there is a secret for ${secretText(draft)} in scope "${where}"; use --force to replace it`,
    );
  }

  #sameAs({ kind, name }: Pick<Draft, 'kind' | 'name'>, scope: number): Entry | undefined {
    return [...this.#entries.values()].find(
      ({ secret }) => secret.kind === kind && secret.name === name && secret.scope === scope,
    );
  }

  /** One that takes another's place keeps its id, and what sandboxes hold for it stays good. */
  async #made(
    { value, ...draft }: Draft,
    scope: number,
    there: Entry | undefined,
    source: Source | null,
  ): Promise<Entry> {
    const id = there?.secret.id ?? randomUUID();
    const text = source instanceof OAuthSource ? JSON.stringify(source.secrets) : value;
    const key = draft.placeholderKey ?? there?.secret.placeholderKey ?? newPlaceholderKey();
    const secret: StoredSecret = {
      ...draft,
      id,
      scope,
      placeholderKey: draft.kind === 'custom' || draft.oauth !== null ? key : null,
      sealed: text === null ? null : await this.#options.vault.seal(id, text),
      createdAtMs: this.#options.clock.wallMs(),
    };
    return new Entry(secret, value, source);
  }

  /** On the disk, here and in all workers; if these do not take it, nowhere. */
  async #change(remove: readonly Entry[], add: readonly Entry[]): Promise<void> {
    if (remove.length === 0 && add.length === 0) return;
    const count = this.#entries.size - remove.length + add.length;
    if (count > SECRETS_MAX) {
      throw new SallyportError('SALLYPORT_OVERLOADED', `there are ${SECRETS_MAX} secrets`);
    }
    this.#exchange(remove, add);
    try {
      await this.#options.onChange();
    } catch (error) {
      this.#exchange(add, remove);
      await this.#options.onChange().catch(() => {}); // Workers that did take it must not keep it.
      throw error;
    }
  }

  #exchange(remove: readonly Entry[], add: readonly Entry[]): void {
    this.#options.store.change(
      remove.map(({ secret }) => secret.id),
      add.map(({ secret }) => secret),
    );
    for (const { secret } of remove) this.#forget(secret.id);
    for (const entry of add) this.#keep(entry);
  }

  #keep(entry: Entry): void {
    this.#entries.set(entry.secret.id, entry);
    const { source } = entry;
    if (source instanceof OAuthSource) source.keep = (secrets) => this.#reseal(entry, secrets);
    this.#schedule(entry, entry.secret.refreshMs ?? ON_DEMAND_MS);
  }

  #forget(id: string): void {
    this.#entries.delete(id);
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }

  /** @throws SALLYPORT_CREDENTIAL_UNAVAILABLE when another has taken its place meanwhile. */
  async #reseal(entry: Entry, secrets: OAuthSecrets): Promise<void> {
    const { id } = entry.secret;
    const sealed = await this.#options.vault.seal(id, JSON.stringify(secrets));
    if (this.#entries.get(id) !== entry) throw changed();
    this.#options.store.reseal(id, sealed);
    entry.secret = { ...entry.secret, sealed };
  }

  #entryOf(secret: StoredSecret): Entry {
    const { id, sealed } = secret;
    const { vault } = this.#options;
    try {
      const text = sealed === null ? null : vault.open(id, sealed);
      return new Entry(secret, text, this.#sourceOf(secret, text));
    } catch (error) {
      if (vault.hasKey) this.#report(secret, 'a secret cannot be decrypted', error); // Else it was told once.
      return new Entry(secret, null, null);
    }
  }

  #sourceOf(secret: Parameters<typeof sourceOf>[0], text: string | null): Source | null {
    const { clock, trusted } = this.#options;
    return sourceOf(secret, text, { clock, trusted, signal: this.#closing.signal });
  }

  async #refresh(entry: Entry): Promise<void> {
    if (entry.oauth === 'signed-out') return;
    let delayMs = entry.secret.refreshMs ?? ON_DEMAND_MS;
    try {
      await this.#renew(entry, (source) => source.fetch());
    } catch (error) {
      this.#reportFailure(entry, error);
      delayMs = entry.source?.final ? ON_DEMAND_MS : SECRET_RETRY_MS;
    }
    this.#schedule(entry, delayMs);
  }

  /** A value that is gone is gone from the workers, too. */
  async #renew(entry: Entry, fetch: (source: Source) => Promise<string>): Promise<void> {
    if (entry.source === null) return;
    try {
      await fetch(entry.source);
    } finally {
      const { value } = entry;
      if (value !== entry.told) {
        await this.#inTurn(() => this.#options.onChange());
        entry.told = value;
      }
    }
  }

  #schedule(entry: Entry, delayMs: number): void {
    const { id } = entry.secret;
    if (this.#closing.signal.aborted || this.#entries.get(id) !== entry) return;
    if (entry.source === null || delayMs === ON_DEMAND_MS) return;
    clearTimeout(this.#timers.get(id));
    this.#timers.set(
      id,
      setTimeout(() => void this.#refresh(entry), delayMs),
    );
  }

  /** Once for all requests that fail by it. */
  #reportFailure(entry: Entry, error: unknown): void {
    if (this.#closing.signal.aborted || entry.reported === error) return;
    entry.reported = error;
    this.#report(entry.secret, 'the value of a secret cannot be fetched', error);
  }

  #report(secret: StoredSecret, message: string, error: unknown): void {
    const where = scopeText(secret.scope, this.#options.scopes);
    const why = error instanceof Error ? error.message : String(error);
    this.#options.report(message, { secret: `${secretText(secret)} ${where}`, error: why });
  }

  #sorted(): Entry[] {
    return [...this.#entries.values()].sort(inOrder);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return mine;
  }
}
