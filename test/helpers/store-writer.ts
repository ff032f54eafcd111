// A process that does nothing but change rules, to be killed: argument 1 is the database, argument 2
// where to count from. Each line it writes is a fact: `try ID` before a removal, `add ID N` and
// `remove ID` when the change was acknowledged. Rule N has the resources aN.test and bN.test.
import { writeSync } from 'node:fs';
import { systemClock } from '../../src/base/clock.ts';
import { PolicyService } from '../../src/control/policy/policy.ts';
import { Store } from '../../src/control/store.ts';

const [, , path = '', from = '0'] = process.argv;
const say = (line: string): void => void writeSync(1, `${line}\n`);

const store = Store.open(path);
// Publishing has its own tests; here it only takes a turn of the loop.
const publisher = { generation: 0, prepare: () => null, commit: async () => {} };
const scopes = { numberOf: () => 1, nameOf: () => undefined };
const policy = await PolicyService.start(store, publisher, scopes, systemClock);
if (policy.preset === null) await policy.initialize('deny-all');
say('ready');

async function work(lane: number): Promise<never> {
  for (let n = Number(from) + lane; ; n += 3) {
    const [rule] = await policy.add([{ decision: 'allow', resources: [`a${n}.test,b${n}.test`] }]);
    say(`add ${rule?.id} ${n}`);
    const oldest = policy.rules[lane]?.id;
    if (n % 2 === 0 || oldest === undefined) continue;
    say(`try ${oldest}`);
    await policy.remove({ id: oldest }).catch(() => {}); // Another lane may have been quicker.
    say(`remove ${oldest}`);
  }
}
await Promise.all([0, 1, 2].map(work));
