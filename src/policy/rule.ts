import type { HttpMatch } from './http.ts';
import type { Resource } from './resource.ts';

/** What a rule decides. Deny wins over allow, whatever the specificity. */
export type Decision = 'allow' | 'deny';

/** Transport of a connection. Allow rules cover tcp unless they say otherwise; deny rules both. */
export type Protocol = 'tcp' | 'udp';

/** Who made a rule: the local user, a kit of the sandbox, or an organisation. */
export type Source = 'local' | 'kit' | 'remote';

/** What a sandbox is doing, as kits tell it: being set up, or running its agent. */
export type KitPhase = 'install' | 'runtime';

/** How a rule came to be, as listings show it. */
export type CreatedVia = 'default' | 'added' | 'provisioned' | 'approval';

/** Scope number of rules that hold for every sandbox. A sandbox's own number is 1 or more. */
export const GLOBAL_SCOPE = 0;

/** A network rule in force. Everything in it is in normal form; the compiler trusts it. */
export type Rule = {
  /** Stable, 1..RULE_ID_BYTES_MAX bytes of printable ASCII, unique among all rules. */
  readonly id: string;
  readonly source: Source;
  readonly decision: Decision;
  /** GLOBAL_SCOPE or the number that the store gave to a sandbox; never reused. */
  readonly scope: number;
  readonly protocols: readonly Protocol[];
  readonly resources: readonly Resource[];
  /** An HTTP rule: of requests to its hosts it covers only these. Absent: all that goes there. */
  readonly http?: HttpMatch;
  /** Of a kit: it waits for this phase, which its sandbox is not in. Absent: it need not wait. */
  readonly awaits?: KitPhase;
};
