// A daemon process for tests: options as JSON in the first argument.
// Keys of tests stay out of the keychain of whoever runs them.
import { type DaemonOptions, runDaemon } from '../../src/control/daemon.ts';

const { given, logToFile = true } = JSON.parse(process.argv[2] ?? '{}') as Partial<DaemonOptions>;
process.exitCode = await runDaemon(
  {
    version: '0.0.0-test',
    logToFile,
    given: {
      'daemon.listen': '127.0.0.1:0',
      'daemon.workers': 1,
      'secrets.keyStore': 'file',
      ...given,
    },
  },
  process.env,
);
