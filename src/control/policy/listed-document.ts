// Listings back to a policy file: the local policy, as `policy export` writes it.
import {
  type DocumentPathRule,
  type PolicyDocument,
  type PresetPathRule,
  ScopeTable,
} from '../../documents/document.ts';
import { parsePathPatterns } from '../../policy/file-pattern.ts';
import type { Access } from '../../policy/mount.ts';
import { FILESYSTEM_DEFAULTS, isPreset, presetRules } from '../../policy/presets.ts';
import { isMadeId } from '../../policy/reasons.ts';
import { type ListedFacts, type ListedRule, rulesOfListing } from './listed-rules.ts';

/**
 * @param listings  of all types, those that do not count at present, too. Rules of others, and rules that
 *   end by themselves, are in no file.
 */
export function documentOfListing(
  preset: string | null,
  listings: readonly ListedFacts[],
): PolicyDocument {
  const scopes = new ScopeTable();
  const rules = rulesOfListing(listings, scopes).filter(isFiled);
  const paths = listings.filter(
    ({ layer, resource_type: type }) => layer === 'local' && accessOf(type) !== null,
  );
  const [own, ofPreset] = [rules.filter(isOwn), rules.filter((rule) => !isOwn(rule))];
  const known = preset !== null && isPreset(preset) ? preset : null;
  const given = ofPreset.map(({ id, decision, resources }) => ({ id, decision, resources }));
  const isUsual = known !== null && sayOf(given) === sayOf(presetRules(known));
  const named = own.map(({ id, source, scope, createdVia, ...facts }) => ({
    ...facts,
    id: isMadeId(id) ? null : id,
    sandbox: scopes.nameOf(scope) ?? null,
    at: '',
  }));
  const sandboxes = new Set(named.flatMap(({ sandbox }) => sandbox ?? []));
  return {
    preset: known,
    presetRules: isUsual ? null : given,
    rules: named,
    filesystem: pathRulesOf(paths.filter((one) => !isDefault(one))),
    presetFilesystem: presetPathsOf(paths.filter(isDefault)),
    sandboxes: [...sandboxes].map((name) => ({ name, at: '' })),
  };
}

function isFiled({ source, expiresAt }: ListedRule): boolean {
  return source === 'local' && expiresAt === undefined;
}

function isOwn({ createdVia }: ListedRule): boolean {
  return createdVia !== 'default';
}

function isDefault({ provenance }: ListedFacts): boolean {
  return provenance.created_via === 'default';
}

type Named = { readonly id: string; readonly resources: readonly { readonly text: string }[] };

/** The same for rules that say the same, in whatever order. */
function sayOf(rules: readonly Named[]): string {
  const said = rules.map(
    ({ id, resources }) => `${id} ${resources.map(({ text }) => text).sort()}`,
  );
  return said.sort().join('\n');
}

function accessOf(type: ListedFacts['resource_type']): Access | null {
  if (type === 'filesystem:read') return 'read';
  return type === 'filesystem:write' ? 'write' : null;
}

/** What is said of reading and of writing alike is said once. */
function pathRulesOf(listings: readonly ListedFacts[]): DocumentPathRule[] {
  const found: (DocumentPathRule & { accesses: Access[] })[] = [];
  for (const { decision, resources, resource_type: type, sandbox_id: sandbox = null } of listings) {
    const access = accessOf(type);
    if (access === null) continue;
    const texts = resources.join('\n');
    const like = found.find(
      (one) =>
        one.decision === decision &&
        one.sandbox === sandbox &&
        !one.accesses.includes(access) &&
        one.patterns.map(({ text }) => text).join('\n') === texts,
    );
    if (like !== undefined) like.accesses = [...like.accesses, access].sort();
    else {
      const patterns = parsePathPatterns(resources);
      found.push({ decision, accesses: [access], patterns, sandbox, at: '' });
    }
  }
  return found;
}

function presetPathsOf(listings: readonly ListedFacts[]): PresetPathRule[] | null {
  const given = listings.map(({ id, resources }) => ({
    id,
    patterns: parsePathPatterns(resources),
  }));
  const usual = FILESYSTEM_DEFAULTS.map(({ id, patterns }) => ({
    id,
    patterns: parsePathPatterns(patterns),
  }));
  const named = (rules: readonly PresetPathRule[]): Named[] =>
    rules.map(({ id, patterns }) => ({ id, resources: patterns }));
  return sayOf(named(given)) === sayOf(named(usual)) ? null : given;
}
