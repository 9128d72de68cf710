/**
 * ServeGen (Xiang et al., 2025): for each client and each window of 600 s the distribution of its inter-arrival times,
 * `client,t_s,rate_per_s,cv,dist,p1,p2`. Replayed client by client: in its windows the gaps between a client's arrivals
 * are drawn from Gamma(shape p1, scale p2) or Weibull(shape p1, scale p2); without a row it is idle. Each client is a
 * function of its own: most of them are idle most of the time, which is what scaling to zero is about.
 *
 * How many there are is what was recorded (`rate_per_s`), not what the fit would give: in sparse windows the fit is of
 * the gaps within a burst, and some would give 30,000 times as many. A train of arrivals that is shorter than its window
 * begins somewhere in it at random; one that is longer is pressed into it.
 *
 * Tokens are drawn from the quantiles in `<name>-tokens.csv` beside it, by client and 6 hours; a client without a row
 * gets those of all clients.
 *
 * @module
 */
import * as Distribution from "../../core/simulation/Distribution.ts"
import * as Random from "../../core/simulation/Random.ts"
import * as Fields from "../Fields.ts"
import { type ReadOptions, type Trace, TraceBuilder } from "../Trace.ts"

const names = ["client", "t_s", "rate_per_s", "cv", "dist", "p1", "p2"]
const tokenNames = ["client", "t_s", "field", "mean", "p10", "p50", "p90", "p99", "max"]
const windowMs = 600_000
const tokenWindowS = 21_600

export const isHead = (head: string): boolean => head === names.join(",")

type Points = ReadonlyArray<readonly [number, number]>

export const read = (all: ReadonlyArray<string>, options: ReadOptions): Trace => {
  const tokens = readTokens(options)
  const trace = new TraceBuilder(options.file)
  for (const line of Fields.lines(options.file, all, 1)) {
    const [client, time, rate, , dist, p1, p2] = Fields.fields(line, names)
    const startMs = Fields.number(line, "t_s", time) * 1_000
    const count = Math.round((Fields.number(line, "rate_per_s", rate) * windowMs) / 1_000)
    if (dist !== "G" && dist !== "W") throw Fields.wrong(line, "dist to be G (gamma) or W (Weibull)")
    const shape = Fields.number(line, "p1 (shape)", p1, 1e-6)
    const scale = Fields.number(line, "p2 (scale, s)", p2)
    if (client === "") throw Fields.wrong(line, "the number of a client in the first field")
    if (startMs + windowMs <= options.fromMs || startMs >= options.toMs) continue
    const random = Random.split(Random.split(options.random, client!), time!)
    const input = tokens.of(client!, startMs, inputFields)
    const output = tokens.of(client!, startMs, outputFields)
    const draw = dist === "G" ? Random.gamma : Random.weibull
    for (const offsetMs of train(count, random, () => draw(random, shape, scale) * 1_000)) {
      const atMs = startMs + offsetMs
      const serviceMs =
        input === undefined || output === undefined
          ? options.serviceMs(random)
          : options.tokensMs(tokensOf(input, random), tokensOf(output, random))
      if (atMs >= options.fromMs && atMs < options.toMs) trace.add(`client-${client}`, atMs, serviceMs)
    }
  }
  return trace.build(options.name, [
    "arrivals drawn for each client and window from its own distribution",
    tokens.isKnown ? options.tokensNote : options.serviceNote
  ])
}

/** Offsets of so many arrivals in one window. */
const train = (count: number, random: Random.Random, gapMs: () => number): ReadonlyArray<number> => {
  const offsets: Array<number> = []
  let atMs = 0
  for (let index = 0; index < count; index++) {
    offsets.push(atMs)
    atMs += gapMs()
  }
  const slackMs = windowMs - atMs
  if (slackMs < 0) return offsets.map((offset) => (offset / atMs) * windowMs)
  const beginMs = Random.uniform(random) * slackMs
  return offsets.map((offset) => beginMs + offset)
}

const tokensOf = (points: Points, random: Random.Random): number =>
  Math.max(1, Math.round(Distribution.quantile(points, Random.uniform(random))))

const inputFields = ["input_tokens", "text_tokens"]
const outputFields = ["output_tokens"]

interface Tokens {
  readonly isKnown: boolean
  readonly of: (client: string, atMs: number, fieldNames: ReadonlyArray<string>) => Points | undefined
}

const readTokens = (options: ReadOptions): Tokens => {
  const name = `${options.name}-tokens`
  const all = options.sibling(name)
  if (all === undefined) return { isKnown: false, of: () => undefined }
  const known = new Map<string, Points>()
  const sums = new Map<string, { readonly totals: Array<number>; count: number }>()
  const file = `${name}.csv`
  if (all[0] !== tokenNames.join(",")) throw Fields.wrong({ file, line: 1, text: all[0] ?? "" }, tokenNames.join(","))
  for (const line of Fields.lines(file, all, 1)) {
    const [client, time, field, , ...rest] = Fields.fields(line, tokenNames)
    const values = rest.map((text, index) => Fields.number(line, tokenNames[index + 4]!, text))
    known.set(`${client} ${time} ${field}`, pointsOf(values))
    const sum = sums.get(field!) ?? { totals: values.map(() => 0), count: 0 }
    values.forEach((value, index) => {
      sum.totals[index]! += value
    })
    sum.count += 1
    sums.set(field!, sum)
  }
  return {
    isKnown: true,
    of: (client, atMs, fieldNames) => {
      const windowS = Math.floor(atMs / 1_000 / tokenWindowS) * tokenWindowS
      for (const field of fieldNames) {
        const own = known.get(`${client} ${windowS} ${field}`)
        if (own !== undefined) return own
        const sum = sums.get(field)
        if (sum !== undefined) return pointsOf(sum.totals.map((total) => total / sum.count))
      }
      return undefined
    }
  }
}

/** p10, p50, p90, p99, max; never falling, never below one token. */
const pointsOf = (values: ReadonlyArray<number>): Points => {
  let least = 1
  return [0.1, 0.5, 0.9, 0.99, 0.999].map((share, index) => {
    least = Math.max(least, values[index] ?? least)
    return [share, least] as const
  })
}
