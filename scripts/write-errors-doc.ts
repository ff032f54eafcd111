// Writes docs/errors.md from the table in src/base/errors.ts. Run: node scripts/write-errors-doc.ts
import { writeFileSync } from 'node:fs';
import { CODES } from '../src/base/errors.ts';

const rows = Object.entries(CODES).map(([code, { status, hint }]) => `| \`${code}\` | ${status} | ${hint} |`);
writeFileSync(
  'docs/errors.md',
  `# Errors

Every failure that Sallyport reports has a code. On the data plane it is in the field \`X-Sallyport-Code\` and in the body; in
the control API it is \`code\` beside \`message\`; the CLI prints it with \`--json\`. Codes are stable.

Two more appear in the audit only, where nobody was left to be told: \`SALLYPORT_CLIENT_CLOSED\` (the client went away first)
and \`SALLYPORT_INTERRUPTED\` (the worker died during the exchange).

| code | status | what to do |
|---|---|---|
${rows.join('\n')}
`,
);
