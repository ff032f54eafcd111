// Kits that commands are given as files.
import { mergeKits, readKit } from '../documents/kit.ts';
import type { Kit } from '../policy/kit.ts';
import type { Context } from './context.ts';
import { readText } from './policy-source.ts';

/**
 * The rules of all of them; what is not put in force here is said.
 *
 * @returns null for none.
 * @throws SALLYPORT_POLICY_INVALID, SALLYPORT_USAGE for a file that cannot be read
 */
export async function kitOf(context: Context, files: readonly string[]): Promise<Kit | null> {
  const kits: Kit[] = [];
  for (const file of files) {
    const { kit, ignored } = readKit(await readText(context, file), file);
    if (ignored.length > 0) {
      context.err(`${file}: not put in force here: ${ignored.join(', ')}\n`);
    }
    kits.push(kit);
  }
  return kits.length === 0 ? null : mergeKits(kits);
}
