import t from 'tap';
import {
  age,
  auditRows,
  duration,
  eachOf,
  entryCount,
  placeList,
  protocolList,
  refreshInterval,
  workerCount,
} from '../../src/cli/values.ts';

t.test('durations are milliseconds, and at most a day', async (t) => {
  t.strictSame(
    ['0s', '500ms', '30s', '2m', '1h', '86400000ms'].map(duration),
    [0, 500, 30_000, 120_000, 3_600_000, 86_400_000],
  );
  for (const bad of [
    '',
    '30',
    's',
    '-1s',
    '1.5s',
    '1d',
    '25h',
    '86400001ms',
    '9999999999s',
    '1s ',
  ]) {
    t.throws(() => duration(bad), { code: 'commander.invalidArgument' }, JSON.stringify(bad));
  }
});

t.test('times may lie days back', async (t) => {
  t.strictSame(['30m', '25h', '7d'].map(age), [1_800_000, 90_000_000, 604_800_000]);
  for (const bad of ['', '1', 'd', '1.5d', '-1d', '1w', '123456d']) {
    t.throws(() => age(bad), { code: 'commander.invalidArgument' }, JSON.stringify(bad));
  }
});

t.test('counts are whole numbers in their range', async (t) => {
  t.strictSame(['1', '63', '007'].map(workerCount), [1, 63, 7]);
  for (const bad of ['0', '64', '-1', '1e1', '', ' 1', '0x2'])
    t.throws(() => workerCount(bad), { code: 'commander.invalidArgument' }, JSON.stringify(bad));
  t.strictSame(['1000', '10000000'].map(auditRows), [1_000, 10_000_000]);
  for (const bad of ['0', '999', '10000001', '-1000', '1e4', '1 000', ''])
    t.throws(() => auditRows(bad), { code: 'commander.invalidArgument' }, JSON.stringify(bad));
  t.strictSame(['0', '12'].map(entryCount), [0, 12]);
  for (const bad of ['-1', 'x', '1.0', '9999999999', ''])
    t.throws(() => entryCount(bad), { code: 'commander.invalidArgument' }, JSON.stringify(bad));
});

t.test('protocols: a list, or the option again; every bad one is named', async (t) => {
  t.strictSame(protocolList('tcp'), ['tcp']);
  t.strictSame(protocolList('TCP, udp'), ['tcp', 'udp']);
  t.strictSame(protocolList('udp,tcp', ['tcp']), ['tcp', 'udp']);
  t.throws(() => protocolList('tcp,sctp,icmp'), { message: /"sctp", "icmp"/ });
  t.throws(() => protocolList(''), { code: 'commander.invalidArgument' });
});

t.test('refresh intervals and places', async (t) => {
  t.strictSame(['on-demand', '10s', '55m'].map(refreshInterval), [0, 10_000, 3_300_000]);
  for (const text of ['0s', '9s', 'never', '25h']) t.throws(() => refreshInterval(text), text);
  t.strictSame(placeList('Query, fields', ['content']), ['content', 'query', 'fields']);
  t.throws(() => placeList('body'), /"body": write fields, query, content/);
  t.strictSame(eachOf('b', ['a']), ['a', 'b']);
});
