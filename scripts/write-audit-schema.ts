// Writes docs/audit.schema.json from src/control/audit/schema.ts. Run: node scripts/write-audit-schema.ts
import { writeFileSync } from 'node:fs';
import { auditJsonSchema } from '../src/control/audit/schema.ts';

writeFileSync('docs/audit.schema.json', `${JSON.stringify(auditJsonSchema(), null, 2)}\n`);
