// What a listing says of rules is enough to make them again.
import fc from 'fast-check';
import t from 'tap';
import { rulesOfListing } from '../../../src/control/policy/listed-rules.ts';
import { listRules } from '../../../src/control/policy/listing.ts';
import type { StoredRule } from '../../../src/control/store.ts';
import { ScopeTable } from '../../../src/documents/document.ts';
import { SEMANTICS } from '../../../src/policy/precedence.ts';
import { ruleLists } from '../../helpers/arbitraries.ts';

const NAMES = ['one', 'two', 'three'];

t.test('rules, listed and read back, are the same', async (t) => {
  fc.assert(
    fc.property(ruleLists, fc.constantFrom('deny-all', 'allow-all'), (list, preset) => {
      const rules = list.map(
        (rule, position): StoredRule => ({
          ...rule,
          // An HTTP rule is for tcp, and scopes are numbered as they are met.
          protocols: rule.http === undefined ? rule.protocols : ['tcp'],
          scope: rule.scope === 0 ? 0 : 1 + (rule.scope % NAMES.length),
          position,
          name: rule.id,
          createdVia: 'added',
          createdAtMs: 0,
        }),
      );
      const scopes = new ScopeTable();
      for (const name of NAMES) scopes.numberOf(name);
      const policy = { rules, pathRules: [], preset, governance: null, semantics: SEMANTICS };
      const names = {
        numberOf: (name: string) => scopes.numberOf(name),
        nameOf: (number: number) => scopes.nameOf(number),
      };
      const listings = [...listRules(policy, names, { type: 'all' })];
      const back = rulesOfListing(JSON.parse(JSON.stringify(listings)), scopes);
      const expected = rules.map(({ position, name, createdAtMs, ...rule }) => rule);
      t.strictSame(back, expected);
      return true;
    }),
    { numRuns: 100 },
  );
});
