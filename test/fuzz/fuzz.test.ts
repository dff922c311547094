/** A short run of each target, the same every time; `npm run fuzz` goes on from here for as long as it is told. */
import { test } from 'node:test';
import { generator, mutate } from './mutate.js';
import { ABUSES } from './target.js';
import { targets } from './targets.js';

for (const target of targets) {
  test(`fuzz: ${target.name} keeps its promise for ${target.cases} inputs made of good ones`, async () => {
    const random = generator(20_261_123);
    const corpus: Buffer[] = target.seeds.map((seed) => Buffer.from(seed));
    for (const seed of corpus) await target.run(seed);
    for (let number = 0; number < target.cases; number += 1) {
      const input = mutate(random, corpus, target.words, target.maxBytes);
      try {
        await target.run(input);
      } catch (error) {
        throw new Error(`case ${number}, ${input.length} bytes in base64: ${input.toString('base64').slice(0, 4000)}`, {
          cause: error,
        });
      }
      // A short chain of changes on changes.
      if (number % 3 === 0) corpus[target.seeds.length + ((number / 3) % 50)] = input;
    }
  });

  for (const [name, input] of ABUSES) {
    test(`fuzz: ${target.name} is not harmed by ${name}`, async () => {
      await target.run(input());
    });
  }
}
