import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { Ajv } from 'ajv';
import { policyJsonSchema } from '../../../src/policy/json-schema.js';
import { parsePolicy, PolicyError } from '../../../src/policy/load.js';
import { everyKey, publishedExample } from './policies.js';

const root = new URL('../../../../', import.meta.url);
const schema = JSON.parse(policyJsonSchema()) as Record<string, unknown>;
const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(schema);

describe('the JSON Schema', () => {
  it('is the one that is shipped: cordon policy schema > policy.schema.json && npx prettier --write policy.schema.json', () => {
    assert.deepEqual(JSON.parse(readFileSync(new URL('policy.schema.json', root), 'utf8')), schema);
    const manifest = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { files: string[] };
    assert.ok(manifest.files.includes('policy.schema.json'));
  });

  it('describes every key', () => {
    const bare: string[] = [];
    const walk = (node: unknown, place: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { properties, items, additionalProperties } = node as Record<string, unknown>;
      for (const [key, inside] of Object.entries(properties ?? {}) as [string, Record<string, unknown>][]) {
        if (typeof inside.description !== 'string') bare.push(`${place}/${key}`);
        walk(inside, `${place}/${key}`);
      }
      walk(items, `${place}/-`);
      walk(additionalProperties, `${place}/*`);
    };
    walk(schema, '');
    assert.deepEqual(bare, []);
  });

  it('takes the published example, the shipped policy and a policy with every key', () => {
    const shipped: unknown = JSON.parse(readFileSync(new URL('policy.json', root), 'utf8'));
    for (const policy of [JSON.parse(publishedExample), shipped, everyKey, { version: '1', default: 'deny' }]) {
      assert.ok(validate(policy), JSON.stringify(validate.errors));
    }
  });

  it('refuses every key with a typo, as the loader does', () => {
    const typos = (node: unknown): unknown[] => {
      if (Array.isArray(node)) {
        return node.flatMap((item: unknown, at) => typos(item).map((wrong) => node.with(at, wrong) as unknown));
      }
      if (typeof node !== 'object' || node === null) return [];
      const entries = Object.entries(node);
      return entries.flatMap(([key, value], at) => [
        Object.fromEntries(entries.with(at, [`${key}x`, value])),
        ...typos(value).map((wrong) => Object.fromEntries(entries.with(at, [key, wrong]))),
      ]);
    };
    const wrong = typos(everyKey).filter((policy) => {
      // The name of a tool is anybody's.
      return !('code_executex' in ((policy as { tools?: object }).tools ?? {}));
    });
    assert.ok(wrong.length > 60, String(wrong.length));
    for (const policy of wrong) {
      assert.equal(validate(policy), false, JSON.stringify(policy));
      assert.throws(() => parsePolicy(JSON.stringify(policy), 'x'), PolicyError);
    }
  });
});
