/** Parameters, FLOPs and bytes of a Llama model. Formulas: reference "Cost and MFU"; a multiply-add counts as 2 FLOPs. */
import type { Architecture } from '../recipe/schema.js';

/** Parameters of a model. */
export interface ParameterCount {
  /** All, each shared matrix once. */
  readonly total: number;
  /** Those in matrix products of a forward pass: all layers and the output head, not the input embedding. */
  readonly matmul: number;
}

/** Parameters of an architecture. */
export function parametersOf(architecture: Architecture): ParameterCount {
  const { layers, width, feedForwardWidth, heads, keyValueHeads, vocabularySize, tiedEmbeddings } =
    architecture;
  const keyValueWidth = (width / heads) * keyValueHeads;
  const attention = 2 * width * width + 2 * width * keyValueWidth;
  const feedForward = 3 * width * feedForwardWidth;
  const head = vocabularySize * width;
  const norms = (2 * layers + 1) * width;
  const matmul = layers * (attention + feedForward) + head;
  return { matmul, total: matmul + norms + (tiedEmbeddings ? 0 : head) };
}

/** FLOPs per token of training (forward and backward, nothing recomputed), by what they are spent on. */
export interface TokenFlops {
  readonly matmul: number;
  readonly attention: number;
}

/**
 * FLOPs per token of training: 6 per matrix parameter, and 6 · layers · width · length for causal attention within a document
 * of `documentTokens` (each token sees half of it on average: 12 · layers · width · length / 2).
 */
export function trainingFlopsPerToken(architecture: Architecture, documentTokens: number): TokenFlops {
  return {
    matmul: 6 * parametersOf(architecture).matmul,
    attention: 6 * architecture.layers * architecture.width * documentTokens,
  };
}

/**
 * FLOPs of training on so many tokens. `sumSquares`: Σ length² of the documents that attention sees, in tokens²; a row counts as one
 * document where documents are not masked from each other.
 */
export function trainingFlops(architecture: Architecture, tokens: number, sumSquares: number): number {
  const { matmul, attention } = trainingFlopsPerToken(architecture, 1);
  return matmul * tokens + attention * sumSquares;
}

/** A forward pass is a third of training's FLOPs: the backward pass takes twice as many. */
export const FORWARD_SHARE = 1 / 3;

/** Bytes of one exported model. */
export function exportBytes(architecture: Architecture, weights: 'float32' | 'bfloat16'): number {
  return (weights === 'float32' ? 4 : 2) * parametersOf(architecture).total;
}

/**
 * Bytes of a curated dataset: four per token, and one more where a mask says what is trained on. Document bounds and names come to
 * less than a hundredth of that.
 */
export function datasetBytes(tokens: number, masked: boolean): number {
  return tokens * (masked ? 5 : 4);
}

/** Bytes of one checkpoint: float32 weights and two Adam moments. */
export function checkpointBytes(architecture: Architecture): number {
  return 12 * parametersOf(architecture).total;
}
