import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { EXIT_CODES } from '../../../src/contracts/index.js';
import { contractJsonSchemas } from '../../../src/contracts/json-schemas.js';

const FOLDER = '../../../src/contracts/schemas';
const SCHEMAS = Object.entries(contractJsonSchemas());

// The files are rewritten by `npx vitest run test/unit/contracts/schemas.test.ts -u`.
describe('the files for readers of other languages follow the zod schemas', () => {
  it.each(SCHEMAS)('%s.schema.json is what the schema gives', async (name, text) => {
    await expect(text).toMatchFileSnapshot(`${FOLDER}/${name}.schema.json`);
  });

  it('exit-codes.json is what the table gives', async () => {
    const text = `${JSON.stringify(EXIT_CODES, undefined, 2)}\n`;
    await expect(text).toMatchFileSnapshot(`${FOLDER}/exit-codes.json`);
  });

  it('there is no other file', () => {
    const files = readdirSync(new URL(FOLDER, import.meta.url)).sort();
    expect(files).toEqual([...SCHEMAS.map(([name]) => `${name}.schema.json`), 'exit-codes.json'].sort());
  });
});
