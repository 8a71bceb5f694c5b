/** The RoPE base (theta): what dynamic NTK suggests for a longer sequence, and the record of a bump. */
import { z } from 'zod';
import type { Architecture } from '../recipe/schema.js';

/** `bump.json` of a RoPE bump: a durable step of its own, made before the stage it is for. */
export const ropeBumpSchema = z.strictObject({
  schema: z.literal('longhaul.rope-bump/1'),
  oldTheta: z.number().positive().describe('RoPE base of the model the stage starts from'),
  newTheta: z.number().positive().describe('RoPE base the stage trains with'),
  oldLengthTokens: z.int().positive().describe('Longest sequence the model was trained on so far'),
  targetLengthTokens: z.int().positive().describe('Longest sequence afterwards: max_position_embeddings'),
  lengthRatio: z.number().positive().describe('Target length by old length'),
  suggestion: z.number().positive().describe('Dynamic NTK’s base for that ratio'),
  ropeScaling: z
    .literal('drop')
    .optional()
    .describe('drop: a scaling of RoPE in the config is taken out, as the suggestion reckons with none'),
});
export type RopeBump = z.infer<typeof ropeBumpSchema>;

/** Width of one attention head, d. */
export function headWidthOf(architecture: Architecture): number {
  return architecture.width / architecture.heads;
}

/**
 * Dynamic NTK's RoPE base for sequences `lengthRatio` times as long: θ' = θ · t^(d / (d − 2)) (paper, B.1). ProLong takes about
 * twice that: 5e5 at 8× suggests 4.13e6, chosen is 8e6.
 */
export function suggestTheta(theta: number, lengthRatio: number, headWidth: number): number {
  return theta * lengthRatio ** (headWidth / (headWidth - 2));
}

/** The record of a bump. Lengths in tokens; a stage no longer than its start has ratio 1. */
export function ropeBump(change: {
  readonly oldTheta: number;
  readonly newTheta: number;
  readonly oldLengthTokens: number;
  readonly sequenceLengthTokens: number;
  readonly headWidth: number;
  readonly ropeScaling?: 'drop' | undefined;
}): RopeBump {
  const { oldTheta, newTheta, oldLengthTokens, headWidth } = change;
  const targetLengthTokens = Math.max(oldLengthTokens, change.sequenceLengthTokens);
  const lengthRatio = targetLengthTokens / oldLengthTokens;
  return {
    schema: 'longhaul.rope-bump/1',
    oldTheta,
    newTheta,
    oldLengthTokens,
    targetLengthTokens,
    lengthRatio,
    suggestion: suggestTheta(oldTheta, lengthRatio, headWidth),
    ...(change.ropeScaling === undefined ? {} : { ropeScaling: change.ropeScaling }),
  };
}
