/** What a base model of somebody else's becomes after a RoPE bump and an export: one that others load, with old tools and new. */
import { execa } from 'execa';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { bumpedConfig } from '../../src/domain/walk/model-config.js';
import { ropeBump } from '../../src/domain/walk/rope.js';

const TESTS = fileURLToPath(new URL('../../infra/trainer/tests/', import.meta.url));
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PYTHON = process.env['LONGHAUL_TRAINER_PYTHON'] ?? path.join(ROOT, '.longhaul/venv/bin/python');
/** A package index may be slow, and the machine busy. */
const PATIENCE_MS = 15 * 60_000;

const VERSIONS = ['current', '4.46'] as const;
type Version = (typeof VERSIONS)[number];

/** A model that says of itself what Llama-3's do, and what is made of it. */
interface Case {
  readonly kind: 'llama-3-instruct' | 'llama-3.1-instruct';
  readonly lengthTokens: number;
  readonly targetTokens: number;
  readonly theta: number;
  readonly weights: 'float32' | 'bfloat16';
  readonly stops: readonly number[];
}

const CASES: readonly Case[] = [
  {
    kind: 'llama-3-instruct',
    lengthTokens: 8192,
    targetTokens: 65_536,
    theta: 8e6,
    weights: 'bfloat16',
    stops: [128_001, 128_009],
  },
  {
    kind: 'llama-3.1-instruct',
    lengthTokens: 131_072,
    targetTokens: 524_288,
    theta: 1.28e8,
    weights: 'float32',
    stops: [128_001, 128_008, 128_009],
  },
];

const loadedSchema = z.strictObject({
  transformers: z.string(),
  dtype: z.string(),
  maxPositionEmbeddings: z.int(),
  ropeType: z.string(),
  frequencies: z.array(z.number()),
  stops: z.array(z.int()),
  configStops: z.union([z.int(), z.array(z.int())]),
  prompt: z.string(),
  promptTokens: z.array(z.int()),
  cutTo: z.int(),
  modelMaxLength: z.int(),
  generated: z.int(),
  logits: z.array(z.number()),
  endOfTurn: z.string(),
  withoutSpecial: z.string(),
});
type Loaded = z.infer<typeof loadedSchema>;

/** HEAD width of the small models. */
const HEAD_WIDTH = 4;
const TINY_SHARD_BYTES = 1_000_000;

let scratch: string;
let overlay: string;
const loaded = new Map<string, Loaded>();

const exportOf = (saver: Version, { kind }: Case) => path.join(scratch, 'exports', saver, kind);
const keyOf = (saver: Version, loader: Version, { kind }: Case) => `${saver} ${loader} ${kind}`;

async function python(
  script: string,
  args: readonly string[],
  version: Version,
  input = '',
): Promise<string> {
  const { stdout } = await execa(PYTHON, ['-B', path.join(TESTS, script), ...args], {
    env: {
      HF_HUB_OFFLINE: '1',
      PYTHONPATH: [version === '4.46' ? [overlay] : [], path.join(TESTS, '..')].flat().join(path.delimiter),
    },
    input,
  });
  return stdout;
}

/** The control plane's part: the config.json that a stage of that length and base trains with. */
async function bump(folder: string, one: Case): Promise<string> {
  const config: unknown = JSON.parse(await readFile(path.join(folder, 'config.json'), 'utf8'));
  const change = ropeBump({
    oldTheta: 5e5,
    newTheta: one.theta,
    oldLengthTokens: one.lengthTokens,
    sequenceLengthTokens: one.targetTokens,
    headWidth: HEAD_WIDTH,
    ropeScaling: 'drop',
  });
  const file = path.join(folder, 'bumped.json');
  await writeFile(file, JSON.stringify(bumpedConfig(config, change)));
  return file;
}

beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'longhaul-exports-'));
  overlay = (await execa(PYTHON, [path.join(TESTS, 'old_transformers.py')])).stdout;
  const jobs = [];
  for (const saver of VERSIONS) {
    await python('hugging_face.py', ['save', path.join(scratch, 'bases', saver)], saver);
    for (const one of CASES) {
      const base = path.join(scratch, 'bases', saver, one.kind);
      const { weights } = one;
      const shardBytes = weights === 'bfloat16' ? TINY_SHARD_BYTES : 5e9;
      jobs.push({ base, config: await bump(base, one), output: exportOf(saver, one), weights, shardBytes });
    }
  }
  await python('export_bases.py', [], 'current', jobs.map((job) => `${JSON.stringify(job)}\n`).join(''));
  for (const loader of VERSIONS) {
    const exports = VERSIONS.flatMap((saver) => CASES.map((one) => ({ saver, one })));
    const folders = exports.map(({ saver, one }) => exportOf(saver, one));
    const lines = (await python('hugging_face.py', ['load', ...folders], loader)).split('\n');
    for (const [index, { saver, one }] of exports.entries()) {
      loaded.set(keyOf(saver, loader, one), loadedSchema.parse(JSON.parse(lines[index] ?? '')));
    }
  }
}, PATIENCE_MS);

afterAll(async () => {
  await rm(scratch, { recursive: true, force: true });
});

const ALL = VERSIONS.flatMap((saver) =>
  CASES.flatMap((one) => VERSIONS.map((loader) => ({ saver, loader, one, kind: one.kind }))),
);

describe.each(ALL)(
  'a $kind saved by transformers $saver, exported, loaded by $loader',
  ({ saver, loader, one }) => {
    const get = () => {
      const found = loaded.get(keyOf(saver, loader, one));
      if (found === undefined) throw new Error('was not loaded');
      return found;
    };

    it('is loaded by that version, in the type asked for', () => {
      expect(get().transformers).toMatch(loader === '4.46' ? /^4\.46\./ : /^5\./);
      expect(get().dtype).toBe(`torch.${one.weights}`);
    });

    it('has the RoPE base it was bumped to, unscaled, and the length', () => {
      expect(get().ropeType).toBe('default');
      const expected = [1, one.theta ** (-2 / HEAD_WIDTH)];
      for (const [index, value] of get().frequencies.entries())
        expect(value).toBeCloseTo(expected[index] ?? 0, 8);
      expect(get().maxPositionEmbeddings).toBe(one.targetTokens);
    });

    it('stops where its base stops', () => {
      expect(get().stops).toEqual(one.stops);
      expect(get().configStops).toEqual(one.kind === 'llama-3-instruct' ? 128_009 : one.stops);
    });

    it('generates', () => {
      expect(get().generated).toBeGreaterThan(0);
    });

    it('renders its chat template', () => {
      expect(get().prompt).toBe(
        '<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nIs it so?<|eot_id|>' +
          '<|start_header_id|>assistant<|end_header_id|>\n\n',
      );
      expect(get().promptTokens.slice(0, 2)).toEqual([128_000, 128_006]);
    });

    it('cuts a text at its own length, and not at its base’s', () => {
      expect([get().cutTo, get().modelMaxLength]).toEqual([one.targetTokens, one.targetTokens]);
    });

    it('knows its special tokens', () => {
      expect([get().endOfTurn, get().withoutSpecial]).toEqual(['<|eot_id|>', 'Is it?']);
    });

    it('computes what every other version computes of every other version’s base', () => {
      const first = loaded.get(keyOf('current', 'current', one));
      for (const [index, value] of get().logits.entries())
        expect(value).toBeCloseTo(first?.logits[index] ?? NaN, 4);
    });
  },
);

describe('weights larger than a shard', () => {
  it.each(VERSIONS)('are in several files with an index of all tensors (%s)', async (saver) => {
    const [sharded] = CASES;
    if (sharded === undefined) throw new Error('no case');
    const folder = exportOf(saver, sharded);
    const index = z
      .strictObject({
        metadata: z.strictObject({ total_size: z.int() }),
        weight_map: z.record(z.string(), z.string()),
      })
      .parse(JSON.parse(await readFile(path.join(folder, 'model.safetensors.index.json'), 'utf8')));
    const files = (await readdir(folder)).filter((name) => name.endsWith('.safetensors')).sort();
    expect(files.length).toBeGreaterThan(2);
    expect([...new Set(Object.values(index.weight_map))].sort()).toEqual(files);
    expect(files[0]).toBe(`model-00001-of-${String(files.length).padStart(5, '0')}.safetensors`);
  });
});
