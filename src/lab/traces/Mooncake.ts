/**
 * Mooncake traces (Qin et al., FAST 2025): one JSON object a line with `timestamp` (ms), `input_length`,
 * `output_length`, and `hash_ids` that are not used here. One function; times in a worker come from the tokens.
 *
 * Stamps are rounded down to a grid (3 s in the conversation trace): the requests of a group are spread over their grid
 * at random, or else every figure of bursts would be one of the recording.
 *
 * @module
 */
import * as Random from "../../core/simulation/Random.ts"
import * as Fields from "../Fields.ts"
import { type ReadOptions, type Trace, TraceBuilder } from "../Trace.ts"

export const isHead = (head: string): boolean => head.startsWith("{") && head.includes('"input_length"')

interface Row {
  readonly atMs: number
  readonly input: number
  readonly output: number
}

export const read = (all: ReadonlyArray<string>, options: ReadOptions): Trace => {
  const rows: Array<Row> = []
  for (const line of Fields.lines(options.file, all, 0)) rows.push(parse(line))
  const gridMs = grid(rows)
  const trace = new TraceBuilder(options.file)
  const jitter = Random.split(options.random, "jitter")
  for (const { atMs, input, output } of rows) {
    const spreadMs = atMs + Random.uniform(jitter) * gridMs
    if (spreadMs < options.fromMs || spreadMs >= options.toMs) continue
    trace.add("llm", spreadMs, options.tokensMs(input, output))
  }
  const note = gridMs > 1 ? [`stamps on a grid of ${gridMs} ms, spread over it at random`] : []
  return trace.build(options.name, [...note, options.tokensNote])
}

const expected = "a JSON object with the numbers timestamp, input_length and output_length"

const parse = (line: Fields.Line): Row => {
  let value: unknown
  try {
    value = JSON.parse(line.text)
  } catch {
    throw Fields.wrong(line, expected)
  }
  const of = (name: string): number => {
    const found = typeof value === "object" && value !== null && name in value ? Reflect.get(value, name) : undefined
    if (typeof found === "number" && Number.isFinite(found) && found >= 0) return found
    throw Fields.wrong(line, `${expected}, ${name} from 0 on`)
  }
  return { atMs: of("timestamp"), input: of("input_length"), output: of("output_length") }
}

/** Seconds or more: a smaller one may be chance. */
const gridMsMin = 1_000

/** How far apart stamps are, when nearly all neighbours are as far apart as each other; 1 = they are on no grid. */
const grid = (rows: ReadonlyArray<Row>): number => {
  const stamps = [...new Set(rows.map(({ atMs }) => atMs))].sort((one, other) => one - other)
  const gaps = stamps.slice(1).map((stamp, index) => stamp - stamps[index]!)
  const typical = gaps.toSorted((one, other) => one - other)[Math.floor(gaps.length / 2)] ?? 0
  // Stamps of the conversation trace are a millisecond or two beside their place.
  const near = gaps.filter((gap) => Math.abs(gap - typical) <= typical / 100).length
  return typical >= gridMsMin && near >= gaps.length * 0.9 ? typical : 1
}
