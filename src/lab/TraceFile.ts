/**
 * Reads a trace from a path, packed or not, and knows by its first line what it is.
 *
 * @module
 */
import { readFileSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { gunzipSync } from "node:zlib"
import * as Random from "../core/simulation/Random.ts"
import * as GpuOpTimes from "./GpuOpTimes.ts"
import * as LlmService from "./LlmService.ts"
import type { ReadOptions, Trace } from "./Trace.ts"
import { TraceError } from "./TraceError.ts"
import * as AzureFunctions from "./traces/AzureFunctions.ts"
import * as AzureLlm from "./traces/AzureLlm.ts"
import * as Counts from "./traces/Counts.ts"
import * as Mooncake from "./traces/Mooncake.ts"
import * as PlainCsv from "./traces/PlainCsv.ts"
import * as ServeGen from "./traces/ServeGen.ts"

const readers: ReadonlyArray<{
  readonly isHead: (head: string) => boolean
  readonly read: (all: ReadonlyArray<string>, options: ReadOptions) => Trace
}> = [PlainCsv, AzureLlm, AzureFunctions, Counts, Mooncake, ServeGen]

/** Unpacked; a text in memory must stay below what a string holds. */
const bytesMax = 400 * 1024 * 1024

export interface Options {
  readonly seed: number
  readonly fromMs?: number
  readonly toMs?: number
  readonly llm?: LlmService.LlmService
  /** Mean time in a worker where the recording says nothing; exponential. */
  readonly serviceMs?: number
}

/** Throws `TraceError`. */
export const load = (path: string, options: Options): Trace => {
  const all = linesOf(path)
  const head = (all[0] ?? "").trim()
  if (GpuOpTimes.isHead(head)) {
    throw new TraceError({
      file: path,
      line: 1,
      expected: "a trace of requests (measured operator times are no trace: give them with --service-model)",
      found: head
    })
  }
  const reader = readers.find((each) => each.isHead(head))
  if (reader === undefined) {
    throw new TraceError({ file: path, line: 1, expected: `the first line of a known trace: ${known}`, found: head })
  }
  const llm = options.llm ?? LlmService.llama3OnA100
  const meanMs = options.serviceMs ?? 1_000
  const name = nameOf(path)
  return reader.read(all, {
    file: path,
    name,
    random: Random.split(Random.make(options.seed), name),
    fromMs: options.fromMs ?? 0,
    toMs: options.toMs ?? Number.POSITIVE_INFINITY,
    tokensMs: (input, output) => LlmService.requestMs(llm, input, output),
    tokensNote: LlmService.note(llm),
    serviceMs: (random) => Random.exponential(random, meanMs),
    serviceNote: `time in a worker is not in the recording: exponential with a mean of ${meanMs} ms`,
    sibling: (other) => {
      for (const end of [".csv.gz", ".csv"]) {
        const file = join(dirname(path), `${other}${end}`)
        if (isFile(file)) return linesOf(file)
      }
      return undefined
    }
  })
}

const known =
  '"arrival_ms,function,duration_ms", "TIMESTAMP,ContextTokens,GeneratedTokens", "app,func,end_timestamp,duration", ' +
  '"timestamp,value", "client,t_s,rate_per_s,cv,dist,p1,p2", or JSON lines with timestamp, input_length, output_length'

/** Throws `TraceError` when there is no such file, or it is not what its name says. */
export const linesOf = (path: string): ReadonlyArray<string> => {
  if (!isFile(path)) throw new TraceError({ file: path, line: 0, expected: "a file", found: "no file of this name" })
  const bytes = readFileSync(path)
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b
  try {
    const text = (isPacked ? gunzipSync(bytes, { maxOutputLength: bytesMax }) : bytes).toString("utf8")
    return text.replace(/^\uFEFF/, "").split(/\r?\n/)
  } catch (cause) {
    const found = cause instanceof Error ? cause.message : String(cause)
    throw new TraceError({ file: path, line: 0, expected: `a gzip file of at most ${bytesMax} bytes unpacked`, found })
  }
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true

const nameOf = (path: string): string =>
  basename(path)
    .replace(/\.gz$/, "")
    .replace(/\.(csv|jsonl)$/, "")
