import t from 'tap';
import { nearest } from '../../src/base/nearest.ts';

const KNOWN = ['daemon.listen', 'daemon.logLevel', 'network.bypass', 'network.via'];

t.test('a misspelling leads to the word that was meant', async (t) => {
  for (const [given, meant] of [
    ['daemon.listn', 'daemon.listen'],
    ['deamon.listen', 'daemon.listen'],
    ['DAEMON.LISTEN', 'daemon.listen'],
    ['daemon.loglevel', 'daemon.logLevel'],
    ['network.bypas', 'network.bypass'],
    ['netwrok.vai', 'network.via'],
  ] as const) {
    t.equal(nearest(given, KNOWN), meant, given);
  }
});

t.test('what is like none of them is not guessed', async (t) => {
  for (const given of ['', 'x', 'colour', 'proxy.sandbox', 'a'.repeat(200)]) {
    t.equal(nearest(given, KNOWN), null, given);
  }
  t.equal(nearest('daemon.listen', []), null);
});
