// Listings back to rules: what the tools that run beside the daemon work with, so that it need not
// stop for them. The counterpart of listing.ts.
import type { ScopeTable } from '../../documents/document.ts';
import { parseHttpMatch } from '../../policy/http.ts';
import { parseResources } from '../../policy/resource.ts';
import { type CreatedVia, GLOBAL_SCOPE, type Protocol, type Rule } from '../../policy/rule.ts';
import { IMPLICIT_DENY_ID, type RuleListing } from './listing.ts';

/** What of a listing says what a rule is. */
export type ListedFacts = Pick<
  RuleListing,
  | 'id'
  | 'resource_type'
  | 'decision'
  | 'resources'
  | 'methods'
  | 'paths'
  | 'layer'
  | 'sandbox_id'
  | 'actions'
  | 'expires_at'
> & { readonly provenance: { readonly created_via: string } };

export type ListedRule = Rule & {
  readonly createdVia: CreatedVia;
  /** Absent: it does not end by itself. */
  readonly expiresAt?: string;
};

/** The network rules among them, in their order. @throws SALLYPORT_POLICY_INVALID for no listing of ours */
export function rulesOfListing(
  listings: readonly ListedFacts[],
  scopes: ScopeTable,
): readonly ListedRule[] {
  return listings.filter(isRule).map((listing) => ruleOf(listing, scopes));
}

/** Filesystem rows and the implicit deny of deny-all are told, but are no rules. */
function isRule({ id, resource_type: type, provenance }: ListedFacts): boolean {
  if (type.startsWith('filesystem')) return false;
  return provenance.created_via !== 'default' || id !== IMPLICIT_DENY_ID;
}

const SOURCES = { local: 'local', kit: 'kit', org: 'remote' } as const;

function ruleOf(listing: ListedFacts, scopes: ScopeTable): ListedRule {
  const { id, decision, resources, methods, paths = [], layer, sandbox_id: sandbox } = listing;
  const protocols = listing.actions.map((action) => action.split(':').at(-1) as Protocol);
  return {
    id,
    source: SOURCES[layer],
    decision,
    scope: sandbox === undefined ? GLOBAL_SCOPE : scopes.numberOf(sandbox),
    protocols: methods === undefined ? protocols : ['tcp'],
    resources: parseResources(resources.join(',')),
    ...(methods && { http: parseHttpMatch(methods, paths) }),
    createdVia: listing.provenance.created_via as CreatedVia,
    ...(listing.expires_at !== undefined && { expiresAt: listing.expires_at }),
  };
}
