// Byte classes and small grammars, against the tables of RFC 9110 section 5.6 written out.
import t from 'tap';
import {
  hex,
  isDigits,
  isToken,
  listMembers,
  TARGET,
  TOKEN,
  VALUE,
} from '../../src/proxy/syntax.ts';

t.test('byte classes', (t) => {
  for (let byte = 0; byte < 256; byte++) {
    const text = String.fromCharCode(byte);
    t.equal(TOKEN[byte] === 1, /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(text), `tchar ${byte}`);
    t.equal(VALUE[byte] === 1, /[\t\x20-\x7e\x80-\xff]/.test(text), `field value ${byte}`);
    t.equal(TARGET[byte] === 1, /[\x21-\x7e]/.test(text) && !/[#\\]/.test(text), `target ${byte}`);
  }
  t.end();
});

t.test('tokens, digits, lists', (t) => {
  t.ok(isToken("a1!#$%&'*+-.^_`|~"));
  for (const bad of ['', 'a b', 'a,', 'é', 'Ā', '"a"', 'a\n']) t.notOk(isToken(bad), bad);
  t.ok(isDigits('0123456789'));
  for (const bad of ['', ' 1', '1 ', '+1', '1.', '١', 'a']) t.notOk(isDigits(bad), bad);
  t.strictSame(listMembers(' a,\tb ,, c d ,'), ['a', 'b', 'c d']);
  t.strictSame(listMembers(''), []);
  t.strictSame(listMembers('\xa0a'), ['\xa0a'], 'no-break space is not OWS');
  t.equal(hex(10), '0x0a');
  t.equal(hex(undefined), 'the end');
  t.end();
});
