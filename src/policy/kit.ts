// The rules that a kit brings with it: what its sandbox may reach while it is set up, and while the agent
// runs. The form is that of network-policy@2 of the public kit specification.
import { SallyportError } from '../base/errors.ts';
import { KIT_PATHS_MAX, RULE_ID_BYTES_MAX } from '../base/limits.ts';
import type { Decision, KitPhase, Rule } from './rule.ts';
import { type RuleFacts, ruleFacts } from './rule-facts.ts';

/** install: while the sandbox is set up. runtime: while the agent runs. */
export const KIT_PHASES = ['install', 'runtime'] as const satisfies readonly KitPhase[];

/** A host pattern, or hosts with what of their requests is meant. */
export type KitEntry =
  | string
  | {
      readonly hosts: readonly string[];
      readonly methods?: readonly string[] | undefined;
      readonly paths?: readonly string[] | undefined;
    };

export type KitRules = { readonly allow: readonly KitEntry[]; readonly deny: readonly KitEntry[] };

export type Kit = { readonly name: string } & { readonly [phase in KitPhase]: KitRules };

/** A rule of a kit, for the sandbox that has it. */
export type KitRule = RuleFacts &
  Pick<Rule, 'id' | 'decision' | 'awaits'> & { readonly name: string };

/** Which sandbox it is for. */
export type KitHolder = {
  readonly name: string;
  /** Its scope. */
  readonly number: number;
  readonly phase: KitPhase;
};

const LISTS = KIT_PHASES.flatMap((phase) =>
  (['allow', 'deny'] as const).map((decision) => ({ phase, decision })),
);

/**
 * The rules of all phases; those of phases that the sandbox is not in wait.
 *
 * @throws SALLYPORT_POLICY_INVALID naming every fault with its place
 */
export function rulesOfKit(kit: Kit, holder: KitHolder): KitRule[] {
  const faults = LISTS.flatMap(({ phase, decision }) =>
    kit[phase][decision].flatMap((entry, index) => {
      const fault = faultOfKitEntry(decision, entry);
      return fault === null ? [] : [`${phase}.${decision} element ${index + 1}: ${fault}`];
    }),
  );
  const paths = LISTS.flatMap(({ phase, decision }) => kit[phase][decision].map(pathsOf));
  const count = paths.reduce((sum, one) => sum + one, 0);
  // A worker that judges by very many keeps all sandboxes waiting, not only that of the kit.
  if (count > KIT_PATHS_MAX) faults.push(`it has ${count} paths; at most ${KIT_PATHS_MAX} fit`);
  if (faults.length > 0) throw invalid(`kit "${kit.name}": ${faults.join('; ')}`);
  return LISTS.flatMap(({ phase, decision }) =>
    draftsOf(kit[phase][decision]).map(({ entry, suffix }) => ({
      id: idOf(holder, `:${phase}${decision === 'deny' ? ':deny' : ''}${suffix}`),
      name: `kit:${holder.name}${decision === 'deny' ? ':deny' : ''}`,
      decision,
      ...factsOf(decision, entry),
      ...(phase === holder.phase ? {} : { awaits: phase }),
    })),
  );
}

/** @returns what is wrong with one entry, or null */
export function faultOfKitEntry(decision: Decision, entry: KitEntry): string | null {
  try {
    factsOf(decision, entry);
    return null;
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    return typeof entry === 'string'
      ? error.message.replace(/^element 1 "[^"]*": /, '')
      : error.message;
  }
}

/** Entries for all that goes to a host make up one rule; each for certain requests is one of its own. */
function draftsOf(entries: readonly KitEntry[]): { entry: KitEntry; suffix: string }[] {
  const hosts = entries.flatMap((entry) => (isBounded(entry) ? [] : hostsOf(entry)));
  const all = hosts.length === 0 ? [] : [{ entry: { hosts }, suffix: '' }];
  const bounded = entries.flatMap((entry, index) =>
    isBounded(entry) ? [{ entry, suffix: `:http:${index + 1}` }] : [],
  );
  return [...all, ...bounded];
}

function factsOf(decision: Decision, entry: KitEntry): RuleFacts {
  const { methods, paths } = typeof entry === 'string' ? {} : entry;
  const hosts = hostsOf(entry);
  const list = hosts.find((host) => host.includes(','));
  if (list !== undefined) throw invalid(`"${list}" is a list; write its elements one by one`);
  if (decision === 'allow' && isBounded(entry)) checkLiteral(hosts);
  return ruleFacts({ decision, resources: hosts.map(spelled), methods, paths });
}

/** Else it could not be told which hosts the kit may reach by these requests alone. */
function checkLiteral(hosts: readonly string[]): void {
  const pattern = hosts.find((host) => /[*?[]/.test(host.replace(/^\[[\da-f:]+\]/i, '')));
  if (pattern === undefined) return;
  throw invalid(`"${pattern}" is a pattern; requests are allowed to hosts that are named exactly`);
}

function isBounded(entry: KitEntry): boolean {
  return typeof entry !== 'string' && (entry.methods !== undefined || entry.paths !== undefined);
}

/** How many patterns a request is held against because of an entry; without any it is one, for all paths. */
function pathsOf(entry: KitEntry): number {
  if (typeof entry === 'string' || !isBounded(entry)) return 0;
  return entry.paths?.length ?? 1;
}

function hostsOf(entry: KitEntry): readonly string[] {
  return typeof entry === 'string' ? [entry] : entry.hosts;
}

/** In kits a lone star is everything; elsewhere it is taken for a mistake. */
function spelled(host: string): string {
  return host.replace(/^\*(?=$|:)/, '**');
}

/** Told in logs and refusals, so it names the sandbox where there is room. */
function idOf({ name, number }: KitHolder, rest: string): string {
  const id = `kit:${name}${rest}`;
  return id.length <= RULE_ID_BYTES_MAX ? id : `kit:#${number}${rest}`;
}

function invalid(message: string): SallyportError {
  return new SallyportError('SALLYPORT_POLICY_INVALID', message);
}
