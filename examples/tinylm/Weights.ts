/**
 * The file `tiny.bin`: a JSON header (sizes, vocabulary, merges, where each tensor lies) and tensors as half floats.
 *
 * Layout: uint32 little-endian header length, header, tensors. Matrices are stored [in, out], row after row.
 *
 * @module
 */

export interface Config {
  /** Width of the residual stream. */
  readonly width: number
  readonly layers: number
  readonly heads: number
  /** Width inside the feed-forward block. */
  readonly hidden: number
  /** Positions the model was trained on. */
  readonly context: number
  readonly vocabulary: number
  /** Begins and ends each text. */
  readonly endOfText: number
}

export interface Weights {
  readonly config: Config
  /** Bytes of each token. */
  readonly pieces: ReadonlyArray<ReadonlyArray<number>>
  /** Pairs that the tokenizer joins, most urgent first. */
  readonly merges: ReadonlyArray<readonly [ReadonlyArray<number>, ReadonlyArray<number>]>
  /** Values of a tensor as single floats. Throws on an unknown name or another shape than the model needs. */
  readonly tensor: (name: string, ...shape: ReadonlyArray<number>) => Float32Array
}

interface Header {
  readonly cfg: Record<"D" | "L" | "H" | "FF" | "T" | "V" | "EOS", number>
  readonly vocab: Weights["pieces"]
  readonly merges: Weights["merges"]
  readonly tensors: Record<string, { readonly shape: ReadonlyArray<number>; readonly off: number }>
}

/** Reads a whole file. The file ships with the program, so a damaged one is a defect and throws. */
export const decode = (file: Uint8Array): Weights => {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const headerBytes = view.getUint32(0, true)
  const tensorsAt = 4 + headerBytes
  // The one claim about the file's content; `tensor` checks names and shapes, `Model.make` asks for every tensor.
  const header = JSON.parse(new TextDecoder().decode(file.subarray(4, tensorsAt))) as Header
  const { D, L, H, FF, T, V, EOS } = header.cfg
  return {
    config: { width: D, layers: L, heads: H, hidden: FF, context: T, vocabulary: V, endOfText: EOS },
    pieces: header.vocab,
    merges: header.merges,
    tensor: (name, ...shape) => {
      const found = header.tensors[name]
      if (found?.shape.join() !== shape.join()) {
        throw new Error(`tensor ${name} should be [${shape}] and is [${found?.shape ?? "missing"}]: wrong tiny.bin`)
      }
      const length = shape.reduce((product, side) => product * side, 1)
      const values = new Float32Array(length)
      for (let i = 0, at = tensorsAt + found.off; i < length; i++, at += 2)
        values[i] = fromHalf(view.getUint16(at, true))
      return values
    }
  }
}

/** IEEE half float: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits. */
export const fromHalf = (bits: number): number => {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (1 + fraction / 1024) * powers[exponent]!
}

const powers = Float64Array.from({ length: 31 }, (_, exponent) => 2 ** (exponent - 15))
