// A change is answered when it is in force everywhere: under a stream of requests through several
// workers, none that starts after the answer sees the policy before.
import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { startWorld } from '../../helpers/control.ts';

const CHANGES = 60;
const STREAMS = 6;

t.test('no request that starts after the answer sees the old policy', async (t) => {
  const origin = createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1');
  await once(origin, 'listening');
  const { port } = origin.address() as AddressInfo;
  const { client, instance } = await startWorld(t, { workers: 2, defaultSandbox: 'box' });
  const proxyPort = Number(instance.status().listen.split(':')[1]);
  const resources = `localhost:${port}`;
  await client.post('/policy/network/rules', { decision: 'allow', resources });

  // What is acknowledged: even epochs are settled, odd ones have a change under way.
  let epoch = 0;
  let denied = false;
  let running = true;
  const counts = { allowed: 0, denied: 0, wrong: 0 };

  const ask = async (agent: Agent): Promise<number> => {
    const headers = { host: resources };
    const path = `http://${resources}/`;
    const asked = request({ agent, host: '127.0.0.1', port: proxyPort, path, headers });
    asked.end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    await once(answer.resume(), 'end');
    return answer.statusCode ?? 0;
  };
  const count = (status: number, expectDenied: boolean): void => {
    if (status !== (expectDenied ? 403 : 200)) counts.wrong++;
    else if (expectDenied) counts.denied++;
    else counts.allowed++;
  };
  const stream = async (): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    while (running) {
      const [startEpoch, startDenied] = [epoch, denied];
      const status = await ask(agent);
      if (startEpoch % 2 === 0 && startEpoch === epoch) count(status, startDenied);
    }
    agent.destroy();
  };
  const streams = Array.from({ length: STREAMS }, stream);

  let seen = 0;
  const traffic = async (): Promise<void> => {
    // Some requests within each epoch, so that each is a real question.
    const target = counts.allowed + counts.denied + counts.wrong + STREAMS;
    while (counts.allowed + counts.denied + counts.wrong < target) await once(origin, 'tick');
    seen++;
  };
  const ticking = setInterval(() => origin.emit('tick'), 1);
  for (let change = 0; change < CHANGES; change++) {
    epoch++;
    if (denied) await client.delete('/policy/network/rules', { id: await denyId() });
    else await client.post('/policy/network/rules', { decision: 'deny', resources });
    denied = !denied;
    epoch++;
    await traffic();
  }
  clearInterval(ticking);
  running = false;
  await Promise.all(streams);
  origin.close();
  t.equal(counts.wrong, 0, JSON.stringify(counts));
  t.equal(seen, CHANGES);
  t.ok(counts.allowed > CHANGES && counts.denied > CHANGES, JSON.stringify(counts));

  async function denyId(): Promise<string> {
    const { rules } = await client.get<{
      rules: { id: string; decision: string; editable: boolean }[];
    }>('/policy/network/rules');
    return rules.find(({ decision, editable }) => decision === 'deny' && editable)?.id ?? '';
  }
});
