// Writes docs/policy.schema.json from the schema that files are read by. Run: node scripts/write-policy-schema.ts
import { writeFileSync } from 'node:fs';
import { documentJsonSchema } from '../src/documents/schema.ts';

writeFileSync('docs/policy.schema.json', `${JSON.stringify(documentJsonSchema(), null, 2)}\n`);
