/** `cordon policy schema`: the JSON Schema of a policy, for editors. */
import { parseArgs } from 'node:util';
import { policyJsonSchema } from '../../policy/json-schema.js';

export function main(argv: readonly string[]): Promise<number> {
  parseArgs({ args: [...argv], options: {}, strict: true });
  process.stdout.write(policyJsonSchema());
  return Promise.resolve(0);
}
