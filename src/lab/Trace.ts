/**
 * A trace in memory: when requests came, to which function, and how long a worker has them.
 *
 * @module
 */
import * as Arrivals from "../core/simulation/Arrivals.ts"
import type * as Random from "../core/simulation/Random.ts"
import { TraceError } from "./TraceError.ts"

export interface Trace {
  readonly name: string
  readonly functions: ReadonlyArray<string>
  /** From the first request on, rising. */
  readonly atMs: Float64Array
  readonly functionOf: Int32Array
  readonly serviceMs: Float64Array
  /** What was added to the recording, for people: jitter, service times. */
  readonly notes: ReadonlyArray<string>
}

/** What a reader is told. */
export interface ReadOptions {
  readonly file: string
  readonly name: string
  readonly random: Random.Random
  /** Only requests of this part, in milliseconds from the start of the recording. */
  readonly fromMs: number
  readonly toMs: number
  /** Time in a worker of a request with so many tokens in and out. */
  readonly tokensMs: (inputTokens: number, outputTokens: number) => number
  readonly tokensNote: string
  /** Of a request of which the recording says nothing. */
  readonly serviceMs: (random: Random.Random) => number
  readonly serviceNote: string
  /** Another file of the same folder; `undefined`: it is not there. */
  readonly sibling: (name: string) => ReadonlyArray<string> | undefined
}

/** Requests that fit into the memory of a small machine. */
export const requestsMax = 20_000_000

/** Collects requests in any order. */
export class TraceBuilder {
  readonly #file: string
  readonly #numbers = new Map<string, number>()
  readonly #atMs: Array<number> = []
  readonly #functionOf: Array<number> = []
  readonly #serviceMs: Array<number> = []

  constructor(file: string) {
    this.#file = file
  }

  get count(): number {
    return this.#atMs.length
  }

  add(name: string, atMs: number, serviceMs: number): void {
    if (this.#atMs.length >= requestsMax) {
      throw new TraceError({
        file: this.#file,
        line: 0,
        expected: `at most ${requestsMax} requests (take a part of it with --from and --to)`,
        found: "more"
      })
    }
    const known = this.#numbers.get(name)
    const number = known ?? this.#numbers.size
    if (known === undefined) this.#numbers.set(name, number)
    this.#atMs.push(atMs)
    this.#functionOf.push(number)
    this.#serviceMs.push(Math.max(0, serviceMs))
  }

  build(name: string, notes: ReadonlyArray<string>): Trace {
    const count = this.#atMs.length
    if (count === 0) {
      throw new TraceError({ file: this.#file, line: 0, expected: "at least one request", found: "" })
    }
    const order = new Uint32Array(count)
    for (let index = 0; index < count; index++) order[index] = index
    // By time, and as recorded where times are equal.
    order.sort((one, other) => this.#atMs[one]! - this.#atMs[other]! || one - other)
    const firstMs = this.#atMs[order[0]!]!
    const atMs = new Float64Array(count)
    const functionOf = new Int32Array(count)
    const serviceMs = new Float64Array(count)
    order.forEach((from, to) => {
      atMs[to] = this.#atMs[from]! - firstMs
      functionOf[to] = this.#functionOf[from]!
      serviceMs[to] = this.#serviceMs[from]!
    })
    return { name, functions: [...this.#numbers.keys()], atMs, functionOf, serviceMs, notes }
  }
}

export const source = (trace: Trace): Arrivals.Source =>
  Arrivals.fromArrays({ atMs: trace.atMs, functions: trace.functionOf, serviceMs: trace.serviceMs })

/** From the first request to the end of the last one, if none waited. */
export const spanMs = (trace: Trace): number => {
  let most = 0
  trace.atMs.forEach((atMs, index) => {
    most = Math.max(most, atMs + trace.serviceMs[index]!)
  })
  return most
}

/** The greatest number of requests of one function that are in service at a time, if none waits. By function. */
export const peaks = (trace: Trace): ReadonlyArray<number> => {
  const changes = trace.functions.map(() => ({ open: 0, peak: 0 }))
  const ends = Array.from(
    trace.atMs,
    (atMs, index) => [atMs + trace.serviceMs[index]!, trace.functionOf[index]!] as const
  )
  ends.sort((one, other) => one[0] - other[0])
  let next = 0
  trace.atMs.forEach((atMs, index) => {
    while (next < ends.length && ends[next]![0] <= atMs) changes[ends[next++]![1]]!.open -= 1
    const each = changes[trace.functionOf[index]!]!
    each.open += 1
    each.peak = Math.max(each.peak, each.open)
  })
  return changes.map(({ peak }) => peak)
}
