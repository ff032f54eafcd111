// Filesystem rules at work: whether a path of this machine may be given to a sandbox. Where the path
// leads is found out first; then policy/mount.ts judges, by the rules that count at that moment.
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import { FILE_PATH_BYTES_MAX } from '../../base/limits.ts';
import { joinSegments, type PathSegments, type PathStyle } from '../../policy/file-path.ts';
import {
  isForStyle,
  type PathPattern,
  parsePathPatterns,
  type ReadyPattern,
  readyPattern,
} from '../../policy/file-pattern.ts';
import {
  type Access,
  type AccessVerdict,
  decisive,
  isAllowed,
  judgeMount,
  type MountQuestion,
  mountDenial,
  mountRuleText,
  type ReadyRule,
} from '../../policy/mount.ts';
import { inactiveReason } from '../../policy/precedence.ts';
import { type Decision, GLOBAL_SCOPE } from '../../policy/rule.ts';
import type { Decisions } from '../audit/decided.ts';
import type { Disk, Look, ResolvedPath } from '../disk.ts';
import type { StoredPathRule } from './path-rule-store.ts';
import type { PolicyService } from './policy.ts';

export type MountRequest = {
  /** Absolute, or behind `~`. */
  readonly path: string;
  /** By which rules beside the global ones; absent: none. */
  readonly sandbox?: string | undefined;
  readonly writable: boolean;
};

export type JudgedMount = {
  readonly asked: MountRequest;
  readonly question: MountQuestion;
  readonly rules: readonly ReadyRule<StoredPathRule>[];
  /** Rules that do not count at present. */
  readonly inactive: readonly Inactive[];
  readonly resolved: ResolvedPath;
  readonly verdicts: readonly AccessVerdict[];
  readonly generation: number;
};

type Inactive = { readonly ready: ReadyRule<StoredPathRule>; readonly why: string };

export type MountParts = {
  readonly policy: Pick<
    PolicyService,
    'pathRules' | 'paths' | 'governance' | 'semantics' | 'generation'
  >;
  readonly scopes: { numberOf(name: string): number };
  readonly disk: Disk;
  /** What `~` stands for. */
  readonly home: string;
  /** What is given to nobody: where the keys and the socket of the daemon are. */
  readonly reserved: readonly string[];
  readonly decisions: Pick<Decisions, 'record'>;
  readonly clock: Clock;
};

/** A rule as somebody writes it. */
export type PathRuleText = {
  readonly decision: Decision;
  readonly accesses: readonly Access[];
  readonly patterns: readonly string[];
  readonly sandbox?: string | undefined;
};

export class Mounts {
  readonly #parts: MountParts;

  constructor(parts: MountParts) {
    this.#parts = parts;
  }

  get style(): PathStyle {
    return this.#parts.disk.style;
  }

  /**
   * Adds rules. One that could never match is refused, as are allows whose folder is a link: whoever
   * may change the link would choose what is allowed.
   *
   * @throws SALLYPORT_POLICY_INVALID naming every fault, and what adding throws
   */
  async addRules(text: PathRuleText): Promise<StoredPathRule[]> {
    const patterns = parsePathPatterns(text.patterns);
    const faults = patterns.flatMap((pattern) => this.#foreign(pattern));
    const { decision, accesses, sandbox } = text;
    if (decision === 'allow' && faults.length === 0) {
      faults.push(...(await this.#parts.disk.look((look) => this.#links(patterns, look))));
    }
    if (faults.length > 0) throw new SallyportError('SALLYPORT_POLICY_INVALID', faults.join('; '));
    return this.#parts.policy.paths.add({ decision, accesses, patterns, sandbox });
  }

  /**
   * Judges a mount; leaves no trace.
   *
   * @throws SALLYPORT_NOT_FOUND for a sandbox, SALLYPORT_PATH_INVALID, SALLYPORT_PATH_UNREADABLE,
   *   SALLYPORT_OVERLOADED
   */
  async judge(asked: MountRequest): Promise<JudgedMount> {
    const { disk, scopes, home } = this.#parts;
    const { path, sandbox, writable } = asked;
    // Before it may have to wait: what has waited too long is recorded, as long as it is.
    if (Buffer.byteLength(path) > FILE_PATH_BYTES_MAX) {
      const message = `a path of more than ${FILE_PATH_BYTES_MAX} bytes cannot be judged`;
      throw new SallyportError('SALLYPORT_PATH_INVALID', message);
    }
    const scope = sandbox === undefined ? GLOBAL_SCOPE : scopes.numberOf(sandbox);
    return disk.look(async (look) => {
      const resolved = await look.resolve(withHome(path, home));
      const reserved = await Promise.all(this.#parts.reserved.map((path) => look.follow(path)));
      const question = { scope, segments: resolved.segments, reserved };
      const { policy } = this.#parts;
      const { generation } = policy;
      const { rules, inactive } = await this.#ready(policy.pathRules, look);
      const verdicts = judgeMount(rules, question, writable);
      return { asked, question, rules, inactive, resolved, verdicts, generation };
    });
  }

  /**
   * Judges a mount that is about to happen, and records it.
   *
   * @throws SALLYPORT_MOUNT_DENIED, and what judge() throws
   */
  async mount(asked: MountRequest): Promise<JudgedMount> {
    const judged = await this.#orRecorded(asked);
    const { resolved, verdicts, generation } = judged;
    const allowed = isAllowed(verdicts);
    const { kind, source, reason } = decisive(verdicts);
    await this.#record(asked, resolved.path, {
      verdict: allowed ? 'allow' : 'deny',
      rule: mountRuleText(verdicts, resolved.path),
      deny_kind: allowed ? null : kind,
      rules: verdicts.flatMap(({ rule }) => (rule === null ? [] : [rule])),
      source,
      reason,
      code: allowed ? null : 'SALLYPORT_MOUNT_DENIED',
      generation,
    });
    if (allowed) return judged;
    const support = this.#parts.policy.governance?.supportMessage ?? null;
    const text = mountDenial(verdicts, resolved.path, support);
    throw new SallyportError('SALLYPORT_MOUNT_DENIED', text);
  }

  /** A path that cannot be followed is a refusal, and recorded as one. */
  async #orRecorded(asked: MountRequest): Promise<JudgedMount> {
    try {
      return await this.judge(asked);
    } catch (error) {
      if (!(error instanceof SallyportError) || error.code !== 'SALLYPORT_PATH_UNREADABLE')
        throw error;
      const { generation } = this.#parts.policy;
      await this.#record(asked, null, {
        verdict: 'deny',
        rule: '',
        deny_kind: null,
        rules: [],
        source: null,
        reason: error.message,
        code: error.code,
        generation,
      });
      throw error;
    }
  }

  #record(
    { path, sandbox = '', writable }: MountRequest,
    resolved: string | null,
    { rule, ...facts }: Recorded,
  ): Promise<void> {
    const { decisions, clock } = this.#parts;
    const mode = writable ? 'mount:write' : 'mount:read';
    const { verdict, reason } = facts;
    const place = resolved ?? path;
    const decided = {
      time_ms: clock.wallMs(),
      sandbox,
      mode,
      place,
      verdict,
      rule,
      reason,
    } as const;
    return decisions.record(decided, {
      action_type: 'filesystem_mount',
      path,
      resolved,
      writable,
      ...facts,
    });
  }

  /** A deny is for the folder that it names, and for where that leads. */
  async #ready(
    rules: readonly StoredPathRule[],
    look: Look,
  ): Promise<Pick<JudgedMount, 'rules' | 'inactive'>> {
    const { governance, semantics } = this.#parts.policy;
    const home = await look.follow(this.#parts.home);
    const known = new Map<string, PathSegments>();
    const counting: ReadyRule<StoredPathRule>[] = [];
    const inactive: Inactive[] = [];
    for (const rule of rules) {
      const own = rule.patterns
        .filter((pattern) => isForStyle(pattern, this.style))
        .map((pattern) => readyPattern(pattern, home, this.style));
      const linked = rule.decision === 'deny' ? await this.#elsewhere(own, look, known) : [];
      const ready = { rule, ready: [...own, ...linked] };
      const why = inactiveReason(rule, 'filesystem', governance, semantics);
      if (why === null) counting.push(ready);
      else inactive.push({ ready, why });
    }
    return { rules: counting, inactive };
  }

  async #elsewhere(
    patterns: readonly ReadyPattern[],
    look: Look,
    known: Map<string, PathSegments>,
  ): Promise<ReadyPattern[]> {
    const found: ReadyPattern[] = [];
    for (const one of patterns) {
      if (one.fixed.length === 0) continue;
      const folder = joinSegments(one.fixed, this.style);
      const fixed = known.get(folder) ?? (await look.follow(folder));
      known.set(folder, fixed);
      if (joinSegments(fixed, this.style) !== folder) found.push({ ...one, fixed });
    }
    return found;
  }

  /** @returns why a pattern matches nothing on this system */
  #foreign(pattern: PathPattern): string[] {
    if (isForStyle(pattern, this.style)) return [];
    const here = this.style === 'windows' ? 'Windows' : 'this system';
    return [`${JSON.stringify(pattern.text)}: it matches no path of ${here}`];
  }

  async #links(patterns: readonly PathPattern[], look: Look): Promise<string[]> {
    const home = await look.follow(this.#parts.home);
    const ready = patterns.map((pattern) => readyPattern(pattern, home, this.style));
    const linked = await this.#elsewhere(ready, look, new Map());
    return linked.map(({ pattern, fixed, rest }) => {
      const text = joinSegments([...fixed, ...rest], this.style);
      return `${JSON.stringify(pattern.text)}: a link is on the way; name ${JSON.stringify(text)}`;
    });
  }
}

type Recorded = {
  readonly verdict: 'allow' | 'deny';
  /** In the words of the log. */
  readonly rule: string;
  readonly deny_kind: AccessVerdict['kind'] | null;
  readonly rules: readonly string[];
  readonly source: AccessVerdict['source'];
  readonly reason: string | null;
  readonly code: string | null;
  readonly generation: number;
};

/** `~` and `~/x` are the user's; a name behind the tilde stays what it is, and is not absolute. */
function withHome(path: string, home: string): string {
  return /^~([/\\]|$)/.test(path) ? home + path.slice(1) : path;
}
