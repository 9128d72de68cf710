/**
 * How long a worker has a request of a language model: the prompt in one pass, then one token after the other in a batch
 * with those beside it. From measured times of the linear operators of one layer; what they lack, attention over the
 * keys and values of what was said before, is taken as the time to read them from the memory of the GPU.
 *
 * @module
 */

export interface LlmService {
  readonly name: string
  readonly layers: number
  /** [tokens in one pass, milliseconds of one layer], rising. */
  readonly layerMs: ReadonlyArray<readonly [tokens: number, ms: number]>
  /** Keys and values of one token in all layers. */
  readonly cacheBytesPerToken: number
  readonly memoryBytesPerMs: number
  /** Requests that are decoded together. */
  readonly batch: number
  readonly source: string
}

const kib = 1_024

/** Grouped-query attention with 8 heads of 128, 2 bytes, keys and values. */
const llama3CacheBytes = 2 * 8 * 128 * 2 * 32

/** Llama 3 8B on one A100: medians of `linear-ops-per-layer` of Vidur. */
export const llama3OnA100: LlmService = {
  name: "Meta-Llama-3-8B on one A100",
  layers: 32,
  layerMs: [
    [1, 0.303],
    [8, 0.312],
    [32, 0.341],
    [64, 0.351],
    [128, 0.412],
    [512, 1.083],
    [1_024, 2.348],
    [2_048, 4.49],
    [4_096, 8.54],
    [8_192, 17.0],
    [16_384, 34.1]
  ],
  cacheBytesPerToken: llama3CacheBytes,
  // 2,039 GB/s of an A100 with 80 GB.
  memoryBytesPerMs: 2_039e6,
  batch: 8,
  source:
    "linear operators per layer measured by Vidur (Agrawal et al., MLSys 2024), 32 layers; attention as bytes of keys " +
    "and values over 2,039 GB/s; tokens decoded in batches of 8"
}

/** Milliseconds from the first to the last token. */
export const requestMs = (model: LlmService, inputTokens: number, outputTokens: number): number => {
  const prompt = layer(model, Math.max(1, inputTokens)) * model.layers
  const meanContext = inputTokens + outputTokens / 2
  const read = (meanContext * model.cacheBytesPerToken) / model.memoryBytesPerMs
  const step = layer(model, model.batch) * model.layers + read * model.batch
  return prompt + step * outputTokens
}

export const note = (model: LlmService): string => `time in a worker from the tokens, ${model.name}: ${model.source}`

/** Linear between the measured points, and beyond the last in proportion. */
const layer = ({ layerMs }: LlmService, tokens: number): number => {
  const last = layerMs.at(-1)!
  if (tokens >= last[0]) return (last[1] * tokens) / last[0]
  const right = Math.max(
    1,
    layerMs.findIndex(([known]) => known >= tokens)
  )
  const [leftTokens, leftMs] = layerMs[right - 1]!
  const [rightTokens, rightMs] = layerMs[right]!
  return leftMs + ((rightMs - leftMs) * (tokens - leftTokens)) / (rightTokens - leftTokens)
}

/** What the names in the operator file stand for; tensor parallelism splits layers, not their number. */
export const shapes: Readonly<Record<string, { readonly layers: number; readonly cacheBytesPerToken: number }>> = {
  "Llama-2-7b-hf": { layers: 32, cacheBytesPerToken: 512 * kib },
  "Llama-2-70b-hf": { layers: 80, cacheBytesPerToken: 320 * kib },
  "Meta-Llama-3-8B": { layers: 32, cacheBytesPerToken: llama3CacheBytes },
  "Meta-Llama-3-70B": { layers: 80, cacheBytesPerToken: 320 * kib }
}

/** Memory bandwidth by the makers' data sheets, bytes per millisecond. */
export const memoryBytesPerMs: Readonly<Record<string, number>> = { a40: 696e6, a100: 2_039e6, h100: 3_350e6 }
