// The ACL file of Stripe's smokescreen: services with the domains that they may reach, lists for all of
// them, and what holds for services that are not named. A service becomes a sandbox.
import { z } from 'zod';
import { classify, parseAddress } from '../policy/address.ts';
import type { Decision } from '../policy/rule.ts';
import type { DocumentRule } from './document.ts';
import {
  type Imported,
  importedDocument,
  importedName,
  importedRule,
  type Loss,
} from './import.ts';
import { type KeyPath, YamlText } from './yaml.ts';

const Domains = z.array(z.string()).nullish();

const Service = z.looseObject({
  name: z.string().nullish(),
  action: z.enum(['open', 'report', 'enforce']),
  allowed_domains: Domains,
});

const Acl = z.looseObject({
  version: z.literal('v1'),
  services: z.array(Service),
  default: Service.nullish(),
  global_allow_list: Domains,
  global_deny_list: Domains,
});

type Service = z.infer<typeof Service>;

const SANDBOX = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/; // As `sandbox add` takes them.
const KNOWN: ReadonlySet<string> = new Set([
  ...['version', 'services', 'default', 'global_allow_list', 'global_deny_list'],
  ...['name', 'project', 'action', 'allowed_domains'],
]);

/**
 * @param name  of the file.
 * @throws SALLYPORT_POLICY_INVALID for what is no such file, naming every fault with its place
 */
export function importSmokescreen(text: string, name: string): Imported {
  const yaml = new YamlText(text, name);
  const { data, error } = Acl.safeParse(yaml.value);
  for (const issue of error?.issues ?? []) {
    yaml.fault(yaml.placeOf(issue.path), `${issue.path.join('.')}: ${issue.message}`);
  }
  yaml.throwFaults();
  return new Conversion(yaml, data as z.infer<typeof Acl>).result();
}

class Conversion {
  readonly #yaml: YamlText;
  readonly #acl: z.infer<typeof Acl>;
  readonly #losses: Loss[] = [];

  constructor(yaml: YamlText, acl: z.infer<typeof Acl>) {
    this.#yaml = yaml;
    this.#acl = acl;
  }

  result(): Imported {
    const { services, global_allow_list: allowed, global_deny_list: denied } = this.#acl;
    const own = services.flatMap((service, i) => this.#service(service, ['services', i]));
    const names = services.flatMap(({ name }) => (name && SANDBOX.test(name) ? [name] : []));
    const rest = this.#default();
    // Without a rule for the others, they may reach nothing, what all may reach neither.
    const everybody = this.#acl.default ? [null] : names;
    const rules = [
      ...everybody.flatMap((one) =>
        this.#rules('allow', allowed ?? [], ['global_allow_list'], one),
      ),
      ...this.#rules('deny', denied ?? [], ['global_deny_list'], null),
      ...rest,
      ...own,
    ];
    this.#unknown(this.#acl, []);
    const isNamed = [...services, this.#acl.default].some(
      (one) => (one?.allowed_domains ?? []).length > 0,
    );
    if (isNamed && (denied ?? []).length > 0) {
      this.#lose('narrower', ['global_deny_list'], 'global_deny_list', DENY_WINS);
    }
    const losses = new Map(this.#losses.map((loss) => [JSON.stringify(loss), loss]));
    return { document: importedDocument(rules), losses: [...losses.values()] };
  }

  #service(service: Service, path: KeyPath): DocumentRule[] {
    const { name = null, action } = service;
    this.#unknown(service, path);
    if (name === null || !SANDBOX.test(name)) {
      this.#lose('left-out', path, `service ${name ?? ''}`, 'no sandbox can have this name');
      return [];
    }
    const domains = this.#rules(
      'allow',
      service.allowed_domains ?? [],
      [...path, 'allowed_domains'],
      name,
    );
    if (action === 'enforce') return domains;
    if (action === 'open')
      return [importedRule('allow', ['**'], this.#at([...path, 'action']), name)];
    this.#lose('narrower', [...path, 'action'], `${name}: report`, REPORT);
    return domains;
  }

  /** A rule for all sandboxes would be one for those with rules of their own, too. */
  #default(): DocumentRule[] {
    const { default: rule, services } = this.#acl;
    if (rule === undefined || rule === null) return [];
    this.#unknown(rule, ['default']);
    if (services.length > 0) {
      this.#lose('left-out', ['default'], 'default', DEFAULT);
      return [];
    }
    if (rule.action === 'open') return [importedRule('allow', ['**'], this.#at(['default']))];
    if (rule.action === 'report') this.#lose('narrower', ['default', 'action'], 'report', REPORT);
    return this.#rules('allow', rule.allowed_domains ?? [], ['default', 'allowed_domains'], null);
  }

  #rules(
    decision: Decision,
    domains: readonly string[],
    path: KeyPath,
    sandbox: string | null,
  ): DocumentRule[] {
    return domains.flatMap((domain, i) => {
      const found = importedName(decision, domain);
      const at = this.#at([...path, i]);
      if (typeof found !== 'string') {
        if (decision === 'allow' && isSpecial(domain)) {
          this.#lose('assumed', [...path, i], domain, RANGE);
        }
        return [importedRule(decision, found, at, sandbox)];
      }
      if (decision === 'allow') {
        this.#lose('left-out', [...path, i], domain, found);
        return [];
      }
      // Less would be denied than there: then nothing may be allowed either.
      this.#lose('narrower', [...path, i], domain, `${found}; so everything is denied`);
      return [importedRule('deny', ['**'], at, sandbox)];
    });
  }

  #unknown(object: object, path: KeyPath): void {
    for (const key of Object.keys(object)) {
      if (KNOWN.has(key)) continue;
      const at = this.#yaml.placeOfKey(path, key);
      const why = WHY[key] ?? 'it says nothing of which hosts may be reached';
      this.#losses.push({ effect: 'left-out', at, what: key, why });
    }
  }

  #lose(effect: Loss['effect'], path: KeyPath, what: string, why: string): void {
    this.#losses.push({ effect, at: this.#at(path), what, why });
  }

  #at(path: KeyPath): string {
    return this.#yaml.placeOf(path);
  }
}

/** Smokescreen refuses those whatever its ACL says, but for ranges that its command line has. */
function isSpecial(domain: string): boolean {
  const address = parseAddress(domain.replace(/:\d+$/, ''));
  return address !== null && classify(address) !== 'public';
}

const WHY: Readonly<Record<string, string>> = {
  allowed_external_proxies: 'requests are not passed on to other proxies',
  mitm_domains: 'hosts are intercepted where a secret or an HTTP rule is bound to them',
};
const RANGE = 'its command line allows this address (--allow-range); it refuses it otherwise';
const REPORT = 'it lets everything pass and reports it; here only what it names may be reached';
const DENY_WINS =
  'a service may reach there what its own list allows although this one denies it; here deny wins';
const DEFAULT =
  'it is for services that are not named, and would hold for all sandboxes here; give those sandboxes rules of their own';
