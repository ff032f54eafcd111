// What is wrong with a request that does not fit its schema, for whoever sent it.
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';

/** @returns every fault with its place, `body.rules.0: ...`; null for an error of another kind */
export function faultsOfRequest(error: unknown): string | null {
  if (!hasZodFastifySchemaValidationErrors(error)) return null;
  const where = error.validationContext ?? 'body';
  const faults = error.validation.map(({ instancePath, message }) => {
    const place = instancePath.replaceAll('/', '.').replace(/^\./, '');
    return place === '' ? `${where}: ${message}` : `${where}.${place}: ${message}`;
  });
  return faults.join('; ');
}
