// Why a mount is allowed or denied: every rule that has a say, the nearest where none does, and how to
// turn the verdict around. What explain.ts is for the network.
import { FILE_PATTERN_BYTES_MAX } from '../base/limits.ts';
import { patternMatches } from './file-pattern.ts';
import {
  type Access,
  type AccessVerdict,
  accessesOf,
  decisive,
  isAllowed,
  isReserved,
  judgeMount,
  type MountQuestion,
  type PathRule,
  pathTouches,
  type ReadyRule,
} from './mount.ts';
import { quoted } from './remedy.ts';
import { GLOBAL_SCOPE } from './rule.ts';

export type PathStanding = 'decides' | 'agrees' | 'overruled';

export type PathConsidered<R extends PathRule> = {
  readonly rule: R;
  readonly pattern: string;
  readonly standing: PathStanding;
  readonly why: string;
};

export type PathNear<R extends PathRule> = {
  readonly rule: R;
  readonly pattern: string;
  readonly why: string;
};

export type MountExplanation<R extends PathRule> = {
  readonly verdicts: readonly AccessVerdict[];
  /** One sentence. */
  readonly why: string;
  /** Those that decide first. */
  readonly considered: readonly PathConsidered<R>[];
  readonly near: readonly PathNear<R>[];
};

/** @param path  for people */
export function explainMount<R extends PathRule>(
  rules: readonly ReadyRule<R>[],
  question: MountQuestion,
  path: string,
  writable: boolean,
): MountExplanation<R> {
  const verdicts = judgeMount(rules, question, writable);
  const considered = verdicts.flatMap((verdict) => consideredFor(rules, question, verdict));
  const first = considered.filter(({ standing }) => standing === 'decides');
  const missing = verdicts.filter(({ kind }) => kind === 'implicit').map(({ access }) => access);
  return {
    verdicts,
    why: whyOf(verdicts, first, path),
    considered: [...first, ...considered.filter((one) => !first.includes(one))],
    near: rules.flatMap((one) => nearMiss(one, question, missing)),
  };
}

function consideredFor<R extends PathRule>(
  rules: readonly ReadyRule<R>[],
  question: MountQuestion,
  verdict: AccessVerdict,
): PathConsidered<R>[] {
  return rules.flatMap((one) => {
    if (one.rule.access !== verdict.access) return [];
    const pattern = pathTouches(one, question);
    if (pattern === null) return [];
    return [{ rule: one.rule, pattern: pattern.text, ...standingOf(one.rule, verdict) }];
  });
}

function standingOf(
  { id, decision, access }: PathRule,
  { rule, action }: AccessVerdict,
): { readonly standing: PathStanding; readonly why: string } {
  const what = access === 'read' ? 'reading' : 'writing';
  if (id === rule) {
    const why =
      decision === 'deny'
        ? `it denies ${what}, and deny wins, whatever allows it`
        : `it allows ${what}, and no rule denies it`;
    return { standing: 'decides', why };
  }
  if (decision === action) return { standing: 'agrees', why: `it ${VERBS[decision]} ${what}, too` };
  return { standing: 'overruled', why: `it allows ${what}, but rule ${rule} denies` };
}

const VERBS = { allow: 'allows', deny: 'denies' } as const;

function whyOf(
  verdicts: readonly AccessVerdict[],
  deciding: readonly PathConsidered<PathRule>[],
  path: string,
): string {
  const { rule, source, kind, access, reason } = decisive(verdicts);
  if (kind === 'implicit') return `no rule allows ${wordOf(access)} ${path}`;
  if (isAllowed(verdicts)) {
    const asked = verdicts.map(({ access: one }) => wordOf(one)).join(' and ');
    return `rules allow ${asked} ${path}, and no rule denies it`;
  }
  if (rule === null) return `no rule can allow ${path}: ${reason}`;
  const pattern = deciding.find((one) => one.rule.id === rule)?.pattern;
  return `${source} rule ${rule} (${pattern}) denies ${wordOf(access)} ${path}`;
}

function wordOf(access: Access): string {
  return access === 'read' ? 'reading' : 'writing';
}

/** An allow that would cover the path if it went deeper, or were for the other access. */
function nearMiss<R extends PathRule>(
  { rule, ready }: ReadyRule<R>,
  { scope, segments }: Omit<MountQuestion, 'reserved'>,
  missing: readonly Access[],
): PathNear<R>[] {
  if (rule.decision !== 'allow' || missing.length === 0) return [];
  if (rule.scope !== GLOBAL_SCOPE && rule.scope !== scope) return [];
  const same = ready.find((one) => patternMatches(one, segments));
  if (same !== undefined) {
    if (missing.includes(rule.access)) return [];
    const why = `it is for ${wordOf(rule.access)} alone`;
    return [{ rule, pattern: same.pattern.text, why }];
  }
  if (!missing.includes(rule.access)) return [];
  const above = ready.find((one) =>
    patternMatches({ ...one, rest: [...one.rest, '**'] }, segments),
  );
  if (above === undefined) return [];
  const { text } = above.pattern;
  return [{ rule, pattern: text, why: `\`${text}\` goes no deeper; \`**\` at its end would` }];
}

/** What has to be done, behind the name of the program. */
export type MountRemedy = { readonly commands: readonly string[]; readonly note?: string };

/**
 * How to turn the verdict around.
 *
 * @param scopeWords  what names the scope that was asked for on a command line.
 * @param path  as the system spells it.
 */
export function mountRemedy(
  rules: readonly ReadyRule[],
  question: MountQuestion,
  {
    path,
    writable,
    scopeWords,
  }: {
    readonly path: string;
    readonly writable: boolean;
    readonly scopeWords: readonly string[];
  },
): MountRemedy {
  const verdicts = judgeMount(rules, question, writable);
  if (isReserved(question)) return { commands: [], note: FIXED.local };
  if (/[*?[\]{}]/.test(path) || Buffer.byteLength(path) > FILE_PATTERN_BYTES_MAX) {
    return { commands: [], note: 'no pattern can be exactly this path; name a folder above it' };
  }
  const add = (decision: string, flags: readonly string[]): string =>
    ['policy', decision, 'filesystem', ...scopeWords, ...flags, quoted(path)].join(' ');
  if (isAllowed(verdicts)) return { commands: [add('deny', writable ? ['--write'] : ['--read'])] };
  const touching = rules.filter((one) => pathTouches(one, question) !== null);
  const denying = touching.filter(
    ({ rule }) => rule.decision === 'deny' && accessesOf(writable).includes(rule.access),
  );
  const fixed = denying.find(({ rule }) => rule.source !== 'local');
  if (fixed !== undefined) return { commands: [], note: FIXED[fixed.rule.source] };
  const left = judgeMount(
    rules.filter((one) => !denying.includes(one)),
    question,
    writable,
  );
  const missing = left.filter(({ action }) => action === 'deny').map(({ access }) => access);
  return {
    commands: [
      ...denying.map(({ rule }) => `policy rm filesystem --id ${rule.id}`),
      ...(missing.length === 0
        ? []
        : [
            add(
              'allow',
              missing.map((access) => `--${access}`),
            ),
          ]),
    ],
  };
}

const FIXED: Readonly<Record<PathRule['source'], string>> = {
  local: 'no rule for this path changes that',
  kit: 'the rule came with the kit of the sandbox; register the sandbox with another kit',
  remote: 'the rule is your organization\u2019s; only who manages its policy can change that',
};
