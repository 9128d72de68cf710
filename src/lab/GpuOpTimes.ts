/**
 * Measured operator times of Vidur (Agrawal et al., MLSys 2024), read into service models: `linear-ops-per-layer` (all
 * operators of one layer by GPU, model, tensor parallelism and tokens) and `all-reduce` (by network, workers and bytes),
 * whose time is added twice a layer where a layer is split.
 *
 * @module
 */
import * as Fields from "./Fields.ts"
import * as LlmService from "./LlmService.ts"

const opsHead = "gpu,model,tp,num_tokens,"
const reduceNames = ["network", "num_workers", "size_bytes", "all_reduce_ms"]

export const isHead = (head: string): boolean => head.startsWith(opsHead) || head === reduceNames.join(",")

export interface Choice {
  readonly gpu: string
  readonly model: string
  readonly tensorParallel: number
  readonly batch: number
}

/** The service model for this GPU and model. */
export const read = (file: string, all: ReadonlyArray<string>, choice: Choice): LlmService.LlmService => {
  const head = all[0] ?? ""
  if (!head.startsWith(opsHead)) throw Fields.wrong({ file, line: 1, text: head }, `${opsHead} and operators`)
  const names = head.split(",")
  const sums = new Map<number, { ms: number; count: number }>()
  for (const line of Fields.lines(file, all, 1)) {
    const [gpu, model, parallel, tokens, ...operators] = Fields.fields(line, names)
    if (gpu !== choice.gpu || model !== choice.model) continue
    if (Fields.number(line, "tp", parallel, 1) !== choice.tensorParallel) continue
    const count = Fields.number(line, "num_tokens", tokens, 1)
    // The first operator is the embedding, which a model has once and not per layer.
    const ms = operators.slice(1).reduce((sum, text, index) => sum + optional(line, names[index + 5]!, text), 0)
    const known = sums.get(count) ?? { ms: 0, count: 0 }
    sums.set(count, { ms: known.ms + ms, count: known.count + 1 })
  }
  const shape = LlmService.shapes[choice.model]
  const memory = LlmService.memoryBytesPerMs[choice.gpu]
  if (sums.size < 2 || shape === undefined || memory === undefined) {
    const { gpu, model, tensorParallel } = choice
    throw Fields.wrong(
      { file, line: 0, text: `${gpu}/${model}/${tensorParallel}` },
      "a GPU, a model and a tensor parallelism that it has"
    )
  }
  const layerMs = [...sums].map(([tokens, { ms, count }]) => [tokens, ms / count] as const).sort((a, b) => a[0] - b[0])
  return {
    name: `${choice.model} on ${choice.tensorParallel} × ${choice.gpu}`,
    layers: shape.layers,
    layerMs,
    cacheBytesPerToken: shape.cacheBytesPerToken / choice.tensorParallel,
    memoryBytesPerMs: memory,
    batch: choice.batch,
    source: "linear operators per layer measured by Vidur (Agrawal et al., MLSys 2024)"
  }
}

/** Operators that a model does not have are empty. */
const optional = (line: Fields.Line, name: string, text: string): number =>
  text === "" ? 0 : Fields.number(line, name, text)

/** Median-like times of one all-reduce: `[bytes, ms]`, rising, for so many workers on this network. */
export const readAllReduce = (
  file: string,
  all: ReadonlyArray<string>,
  choice: { readonly network: string; readonly workers: number }
): ReadonlyArray<readonly [bytes: number, ms: number]> => {
  const head = all[0] ?? ""
  if (head !== reduceNames.join(",")) throw Fields.wrong({ file, line: 1, text: head }, reduceNames.join(","))
  const points: Array<readonly [number, number]> = []
  for (const line of Fields.lines(file, all, 1)) {
    const [network, workers, bytes, ms] = Fields.fields(line, reduceNames)
    const row = [Fields.number(line, "size_bytes", bytes), Fields.number(line, "all_reduce_ms", ms)] as const
    if (network === choice.network && Fields.number(line, "num_workers", workers, 1) === choice.workers)
      points.push(row)
  }
  if (points.length === 0) {
    throw Fields.wrong(
      { file, line: 0, text: `${choice.network}/${choice.workers}` },
      "a network and a count of workers that it has"
    )
  }
  return points.sort((a, b) => a[0] - b[0])
}

/** The model with the time of its two all-reduces a layer; `bytesPerToken`: hidden size × 2. */
export const withAllReduce = (
  model: LlmService.LlmService,
  points: ReadonlyArray<readonly [bytes: number, ms: number]>,
  bytesPerToken: number
): LlmService.LlmService => ({
  ...model,
  layerMs: model.layerMs.map(([tokens, ms]) => [tokens, ms + 2 * reduceMs(points, tokens * bytesPerToken)] as const)
})

const reduceMs = (points: ReadonlyArray<readonly [bytes: number, ms: number]>, bytes: number): number => {
  const right = points.findIndex(([known]) => known >= bytes)
  if (right === 0) return points[0]![1]
  const last = points.at(-1)!
  if (right < 0) return (last[1] * bytes) / last[0]
  const [leftBytes, leftMs] = points[right - 1]!
  const [rightBytes, rightMs] = points[right]!
  return leftMs + ((rightMs - leftMs) * (bytes - leftBytes)) / (rightBytes - leftBytes)
}
