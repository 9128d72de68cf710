/**
 * A LLaMA-shaped transformer, one token at a time.
 *
 * Per layer: RMSNorm, rotary attention over the cached keys and values, residual; RMSNorm, SwiGLU feed-forward,
 * residual. The token embedding is also the output projection. All buffers are made once, so decoding allocates nothing.
 *
 * Law: M1 the logits depend on the tokens seen since the cache was cleared and on nothing else.
 *
 * @module
 */
import type { Config, Weights } from "./Weights.ts"

interface Layer {
  readonly attentionNorm: Float32Array
  readonly feedForwardNorm: Float32Array
  readonly query: Float32Array
  readonly key: Float32Array
  readonly value: Float32Array
  readonly output: Float32Array
  readonly gate: Float32Array
  readonly up: Float32Array
  readonly down: Float32Array
}

export interface Model {
  readonly config: Config
  readonly embedding: Float32Array
  readonly finalNorm: Float32Array
  readonly layers: ReadonlyArray<Layer>
  /** Rotation of pair `i` at position `p` lies at `p * headWidth / 2 + i`. */
  readonly cosines: Float32Array
  readonly sines: Float32Array
}

/** Keys and values of the positions seen so far: the memory of one conversation. */
export interface Cache {
  /** Tokens seen; at most `config.context`. */
  length: number
  readonly keys: ReadonlyArray<Float32Array>
  readonly values: ReadonlyArray<Float32Array>
}

export const make = (weights: Weights): Model => {
  const { config, tensor } = weights
  const { width, hidden, context, heads } = config
  // Transposed once, so that each output is a dot product over neighbouring memory.
  const matrix = (name: string, rows: number, columns: number) => transpose(tensor(name, rows, columns), rows, columns)
  const half = width / heads / 2
  const angles = Float64Array.from({ length: context * half }, (_, at) => {
    const position = Math.floor(at / half)
    return position * 10_000 ** (-(at % half) / half)
  })
  return {
    config,
    embedding: tensor("e", config.vocabulary, width),
    finalNorm: tensor("n", width),
    layers: Array.from({ length: config.layers }, (_, layer) => ({
      attentionNorm: tensor(`${layer}.n1`, width),
      feedForwardNorm: tensor(`${layer}.n2`, width),
      query: matrix(`${layer}.q`, width, width),
      key: matrix(`${layer}.k`, width, width),
      value: matrix(`${layer}.v`, width, width),
      output: matrix(`${layer}.o`, width, width),
      gate: matrix(`${layer}.g`, width, hidden),
      up: matrix(`${layer}.u`, width, hidden),
      down: matrix(`${layer}.d`, hidden, width)
    })),
    cosines: Float32Array.from(angles, Math.cos),
    sines: Float32Array.from(angles, Math.sin)
  }
}

export const makeCache = ({ config }: Model): Cache => {
  const perLayer = () => Array.from({ length: config.layers }, () => new Float32Array(config.context * config.width))
  return { length: 0, keys: perLayer(), values: perLayer() }
}

export const clear = (cache: Cache): void => {
  cache.length = 0
}

export const isFull = (model: Model, cache: Cache): boolean => cache.length >= model.config.context

/**
 * A function that feeds one token and returns the logits of the next one.
 *
 * The array that it returns is overwritten by the next call. Throws when the cache is full. One function serves many
 * caches, but one call at a time: it never yields, so this holds within a thread.
 */
export const makeForward = (model: Model): ((cache: Cache, token: number) => Float32Array) => {
  const { width, hidden, heads, vocabulary, context } = model.config
  const headWidth = width / heads
  const scale = 1 / Math.sqrt(headWidth)
  const stream = new Float32Array(width)
  const normed = new Float32Array(width)
  const query = new Float32Array(width)
  const mixed = new Float32Array(width)
  const projected = new Float32Array(width)
  const gate = new Float32Array(hidden)
  const up = new Float32Array(hidden)
  const scores = new Float32Array(context)
  const logits = new Float32Array(vocabulary)

  const attend = (keys: Float32Array, values: Float32Array, length: number) => {
    mixed.fill(0)
    for (let head = 0; head < width; head += headWidth) {
      for (let position = 0; position < length; position++) {
        scores[position] = dot(query, head, keys, position * width + head, headWidth) * scale
      }
      softmax(scores, length)
      for (let position = 0; position < length; position++) {
        const weight = scores[position]!
        const row = position * width + head
        for (let i = 0; i < headWidth; i++) mixed[head + i]! += weight * values[row + i]!
      }
    }
  }

  return (cache, token) => {
    if (cache.length >= context) throw new Error(`the cache holds ${context} positions and is full`)
    const position = cache.length
    const row = position * width
    stream.set(model.embedding.subarray(token * width, (token + 1) * width))
    for (let index = 0; index < model.layers.length; index++) {
      const layer = model.layers[index]!
      const keys = cache.keys[index]!
      const values = cache.values[index]!

      normalise(normed, stream, layer.attentionNorm)
      multiply(query, 0, normed, layer.query, width)
      multiply(keys, row, normed, layer.key, width)
      multiply(values, row, normed, layer.value, width)
      rotate(model, query, 0, position)
      rotate(model, keys, row, position)
      attend(keys, values, position + 1)
      multiply(projected, 0, mixed, layer.output, width)
      add(stream, projected)

      normalise(normed, stream, layer.feedForwardNorm)
      multiply(gate, 0, normed, layer.gate, hidden)
      multiply(up, 0, normed, layer.up, hidden)
      for (let i = 0; i < hidden; i++) gate[i]! *= up[i]! / (1 + Math.exp(-gate[i]!))
      multiply(projected, 0, gate, layer.down, width)
      add(stream, projected)
    }
    cache.length++
    normalise(normed, stream, model.finalNorm)
    multiply(logits, 0, normed, model.embedding, vocabulary)
    return logits
  }
}

const transpose = (source: Float32Array, rows: number, columns: number): Float32Array => {
  const target = new Float32Array(source.length)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) target[column * rows + row] = source[row * columns + column]!
  }
  return target
}

/** Four sums at a time, as they do not wait for each other: a sixth faster than one. `length` is a multiple of four. */
const dot = (a: Float32Array, aAt: number, b: Float32Array, bAt: number, length: number): number => {
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  for (let i = 0; i < length; i += 4) {
    s0 += a[aAt + i]! * b[bAt + i]!
    s1 += a[aAt + i + 1]! * b[bAt + i + 1]!
    s2 += a[aAt + i + 2]! * b[bAt + i + 2]!
    s3 += a[aAt + i + 3]! * b[bAt + i + 3]!
  }
  return s0 + s1 + s2 + s3
}

/** `rows` outputs, written to `target` from `at` on; `matrix` is [rows, input.length]. */
const multiply = (target: Float32Array, at: number, input: Float32Array, matrix: Float32Array, rows: number) => {
  const columns = input.length
  for (let row = 0; row < rows; row++) target[at + row] = dot(input, 0, matrix, row * columns, columns)
}

const add = (target: Float32Array, more: Float32Array) => {
  for (let i = 0; i < target.length; i++) target[i]! += more[i]!
}

const normalise = (target: Float32Array, source: Float32Array, weight: Float32Array) => {
  const length = source.length
  const factor = 1 / Math.sqrt(dot(source, 0, source, 0, length) / length + 1e-5)
  for (let i = 0; i < length; i++) target[i] = source[i]! * factor * weight[i]!
}

/** Turns each pair (2i, 2i+1) of each head by an angle that grows with the position. */
const rotate = ({ config, cosines, sines }: Model, vector: Float32Array, at: number, position: number) => {
  const half = config.width / config.heads / 2
  for (let pair = 0; pair < config.width / 2; pair++) {
    const angle = position * half + (pair % half)
    const cosine = cosines[angle]!
    const sine = sines[angle]!
    const even = vector[at + 2 * pair]!
    const odd = vector[at + 2 * pair + 1]!
    vector[at + 2 * pair] = even * cosine - odd * sine
    vector[at + 2 * pair + 1] = even * sine + odd * cosine
  }
}

/** In place, over the first `length` entries. */
const softmax = (values: Float32Array, length: number) => {
  let highest = Number.NEGATIVE_INFINITY
  for (let i = 0; i < length; i++) highest = Math.max(highest, values[i]!)
  let sum = 0
  for (let i = 0; i < length; i++) {
    const raised = Math.exp(values[i]! - highest)
    values[i] = raised
    sum += raised
  }
  for (let i = 0; i < length; i++) values[i]! /= sum
}
