/** The JSON Schema of a policy, for editors. It knows shapes; what values mean is checked when a policy is read. */
import * as z from 'zod';
import { policySchema } from './schema.js';

/**
 * The schema as text, as it is shipped in policy.schema.json. Draft 7, which editors know best; objects written out and
 * not referred to, so that every description shows.
 */
export function policyJsonSchema(): string {
  const schema = z.toJSONSchema(policySchema, { io: 'input', target: 'draft-7', reused: 'inline' });
  const { $schema, ...rest } = schema;
  return `${JSON.stringify({ $schema, title: "Cordon's policy", ...rest }, null, 2)}\n`;
}
