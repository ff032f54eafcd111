// What a field list says of its message; the refusals seen from outside are in head.test.ts.
import t from 'tap';
import { Facts } from '../../src/proxy/facts.ts';

const MALFORMED = 'SALLYPORT_UPSTREAM_MALFORMED';

t.test('several fields of one list are one list', (t) => {
  const facts = new Facts(
    ['Connection', 'a, UPGRADE', 'connection', 'close', 'Upgrade', 'x/1', 'upgrade', 'y'],
    11,
    MALFORMED,
  );
  t.strictSame(facts.connectionTokens, ['a', 'upgrade', 'close']);
  t.match(facts, { close: true, keepAlive: false, upgrade: 'x/1, y' });
  t.equal(new Facts(['Connection', 'upgrade', 'Upgrade', 'x'], 10, MALFORMED).upgrade, null);
  t.end();
});

t.test('names of a known length that are other names are left alone', (t) => {
  const facts = new Facts(
    ['User-Agent', 'x', 'Accept-Charset', '5, 5', 'Date', 'a', 'Date', 'b', 'xx', 'trailers'],
    11,
    MALFORMED,
  );
  t.match(facts, { host: null, contentLength: null, chunked: false, teTrailers: false });
  t.strictSame(facts.connectionTokens, []);
  t.end();
});

t.test('the list of one message does not leak into the next', (t) => {
  t.strictSame(new Facts(['Connection', 'a'], 11, MALFORMED).connectionTokens, ['a']);
  t.strictSame(new Facts([], 11, MALFORMED).connectionTokens, []);
  t.end();
});

t.test('refusals carry the code they were asked for', (t) => {
  for (const fields of [
    ['Content-Length', '5', 'Content-Length', '5'],
    ['Transfer-Encoding', 'chunked', 'Content-Length', '5'],
    ['Connection', 'cookie'],
    ['Host', 'a', 'host', 'a'],
  ]) {
    t.throws(() => new Facts(fields, 11, MALFORMED), { code: MALFORMED });
  }
  t.end();
});
