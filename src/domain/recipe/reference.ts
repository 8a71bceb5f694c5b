/** The reference page of the recipe, made from its schema: docs/recipe-reference.md. */
import { isObject } from '../lib/json.js';
import type { JsonObject } from '../lib/json.js';
import { PROLONG_8B_READINGS } from './presets/prolong-8b.js';
import { PRESETS } from './presets/index.js';
import { RECIPE_EXAMPLES } from './presets/examples.js';
import { recipeInputJsonSchema } from './json-schema.js';

const INTRODUCTION = `# Recipe reference

<!-- Made from the schema in src/domain/recipe/schema.ts; a test compares the two. -->

A recipe is one JSON object. \`{}\` is valid and means the \`tiny\` preset; anything else is a preset with overrides laid over
it. \`longhaul plan\` tells what a recipe comes to without running it, and whether it would be refused. For editors there is a JSON
Schema, \`docs/schemas/recipe.schema.json\`: name it in the recipe's \`"$schema"\` key, which is ignored otherwise.

## How overrides are laid over a preset

- Objects merge key by key. Stages, evaluations, targets, tasks and domains are objects keyed by name, so
  \`{"stages": {"stage-1": {"steps": 3}}}\` changes one number of one stage, and a new name adds a stage.
- \`null\` removes what has that name: \`{"stages": {"sft": null}}\`.
- Lists (\`mix\`, \`lengths\`, \`depths\`, sources of a domain…) replace the preset's list as a whole. So do objects of another
  \`source\`, \`kind\` or \`task\`.
- A stage may be \`"like"\` another: it starts from that stage's settings, overrides included. That makes a branch one line.
- A stage may give \`steps\` instead of \`tokens\`.
- **Lengths** are integers or carry a binary suffix: \`"64K"\` is 65,536. **Token counts** are integers, or say which billion is
  meant: \`{"billions": 20, "unit": "decimal"}\` (10^9) or \`"binary"\` (2^30). A bare \`"20B"\` is refused, as it has both readings.
- Unknown keys are errors. Every problem of a recipe is reported at once, with its path and what would be accepted.

The resolved recipe, with every field filled in and every length an integer, is frozen into the run as \`recipe.json\`. The SHA-256
of its canonical JSON is the recipe's identity.

## What is checked besides single fields

- Shares of a mix add up to 1; each domain has sources; a domain and length occurs once.
- The global batch is a whole number of rows, the tokens a whole number of batches, a row a whole number of documents of each set length.
- Every stage starts from \`base\` or another stage, without circles; the RoPE base never goes down on the way; the base model has no
  Adam moments to carry.
- SFT (\`masked-tokens\`) reads conversations with assistant turns only.
- The tokenizer's vocabulary is the model's.
- Evaluations name models and tasks that exist; no task is longer than anything the recipe trains at; one target name means one model.

A share that is no whole number of rows is allowed and told by \`longhaul plan\`: the domain gets the next number above or below.

## The order of steps

Curation; then evaluations, each as soon as all its models are there; then stages from the base on, depth first, siblings by name, each
after the RoPE bump it needs (one is needed where the RoPE base differs or sequences become longer); the report last. Folders are named
after it: \`01-curation\`, \`02-base-evaluation\`, \`03-rope-stage-1\`, \`04-stage-1\`…`;

/** The reference page as markdown. */
export function recipeReference(): string {
  const sections = [
    INTRODUCTION,
    `## Examples\n\n${RECIPE_EXAMPLES.map(({ title, recipe }) => `${title}:\n\n${jsonBlock(recipe)}`).join('\n\n')}`,
    `## Fields\n\n${fieldSections().join('\n\n')}`,
    readings(),
    ...Object.entries(PRESETS).map(
      ([name, preset]) => `## The \`${name}\` preset in full\n\n${jsonBlock(preset)}`,
    ),
  ];
  return `${sections.join('\n\n')}\n`;
}

function jsonBlock(value: unknown): string {
  return `\`\`\`json\n${compactJson(value)}\n\`\`\``;
}

/** JSON with objects and lists on one line where they fit. */
function compactJson(value: unknown, indent = ''): string {
  const flat = JSON.stringify(value, undefined, 1).replace(/\n\s*/g, ' ');
  if (typeof value !== 'object' || value === null || indent.length + flat.length <= 100) return flat;
  const deeper = `${indent}  `;
  const lines = Array.isArray(value)
    ? value.map((item) => deeper + compactJson(item, deeper))
    : Object.entries(value).map(
        ([key, item]) => `${deeper}${JSON.stringify(key)}: ${compactJson(item, deeper)}`,
      );
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  return `${open}\n${lines.join(',\n')}\n${indent}${close}`;
}

interface Field {
  readonly path: string;
  readonly type: string;
  readonly meaning: string;
}

/** A table for the fields at the top, then one for each of them that has fields of its own. */
function fieldSections(): string[] {
  const root = recipeInputJsonSchema();
  const properties = Object.entries(propertiesOf(root));
  const top = properties.map(([key, schema]) => fieldOf(key, schema));
  const nested = properties.flatMap(([key, schema]) => {
    const fields = fieldsBelow(schema, key);
    return fields.length === 0 ? [] : [`### \`${key}\`\n\n${fieldTable(fields)}`];
  });
  return [fieldTable(top), ...nested];
}

function fieldTable(fields: readonly Field[]): string {
  const rows = fields.map(({ path, type, meaning }) => `| \`${path}\` | ${type} | ${meaning} |`);
  return ['| field | type | meaning |', '|---|---|---|', ...rows].join('\n');
}

/** Every field below a schema, depth first. `*` stands for a name, `[]` for an item of a list. */
function fieldsBelow(schema: unknown, path: string): Field[] {
  if (!isObject(schema)) return [];
  const own = Object.entries(propertiesOf(schema)).flatMap(([key, child]) =>
    fieldAndBelow(child, `${path}.${key}`),
  );
  const values = schema['additionalProperties'];
  const named = isObject(values) ? fieldAndBelow(values, `${path}.*`) : [];
  const items = isObject(schema['items']) ? fieldsBelow(schema['items'], `${path}[]`) : [];
  const variants = variantsOf(schema).flatMap((variant) => fieldsBelow(variant, path));
  return distinct([...own, ...named, ...items, ...variants]);
}

function fieldAndBelow(schema: unknown, path: string): Field[] {
  return [fieldOf(path, schema), ...fieldsBelow(schema, path)];
}

/** Variants share fields: the first that speaks of one stands for all, with every type named. */
function distinct(fields: readonly Field[]): Field[] {
  const byPath = new Map<string, Field>();
  for (const field of fields) {
    const before = byPath.get(field.path);
    const types = new Set([...(before?.type.split(' or ') ?? []), ...field.type.split(' or ')]);
    const meanings = new Set(
      [before?.meaning, field.meaning].filter((meaning) => meaning !== undefined && meaning !== ''),
    );
    byPath.set(field.path, {
      path: field.path,
      type: [...types].join(' or '),
      meaning: [...meanings].join('; '),
    });
  }
  return [...byPath.values()];
}

function fieldOf(path: string, schema: unknown): Field {
  const described =
    isObject(schema) && typeof schema['description'] === 'string' ? schema['description'] : '';
  const inner = isObject(schema) ? variantsOf(schema).map((variant) => variant['description']) : [];
  const first = inner.find((one) => typeof one === 'string' && one !== 'Removes it');
  const meaning = described !== '' ? described : typeof first === 'string' ? first : '';
  return { path, type: isObject(schema) ? typeOf(schema) : '', meaning: meaning.replaceAll('|', '\\|') };
}

function typeOf(schema: JsonObject): string {
  const variants = variantsOf(schema);
  if (variants.length > 0) return [...new Set(variants.map(typeOf))].join(' or ');
  if (Array.isArray(schema['enum']))
    return schema['enum'].map((one) => `\`${JSON.stringify(one)}\``).join(' or ');
  if (schema['const'] !== undefined) return `\`${JSON.stringify(schema['const'])}\``;
  if (schema['type'] === 'array')
    return isObject(schema['items']) ? `list of ${typeOf(schema['items'])}` : 'list';
  if (isObject(schema['additionalProperties'])) return 'map by name';
  return typeof schema['type'] === 'string' ? schema['type'] : 'any';
}

function propertiesOf(schema: JsonObject): JsonObject {
  return isObject(schema['properties']) ? schema['properties'] : {};
}

function variantsOf(schema: JsonObject): JsonObject[] {
  const lists = [schema['anyOf'], schema['oneOf']].flatMap((list): unknown[] =>
    Array.isArray(list) ? list : [],
  );
  return lists.filter(isObject);
}

function readings(): string {
  const entries = PROLONG_8B_READINGS.map(({ question, taken, otherwise, overrides }) => {
    const code = overrides === undefined ? '' : `\n\n${jsonBlock(overrides)}`;
    return `**${question}.** Taken: ${taken}. Otherwise: ${otherwise}.${code}`;
  });
  return `## Where the paper leaves a choice\n\nWhat \`prolong-8b\` takes, and the overrides that take the other reading.\n\n${entries.join('\n\n')}`;
}
