/**
 * `npm run bench -- NAME [--json] [--repetitions N]`: measures one thing against its budget. Lines for people go to
 * stderr, one JSON object is the last line of stdout. Ends with code 0 also when a budget is not met: on a busy machine
 * that is a figure to look at, not an error.
 *
 * @module
 */
import { parseArgs } from "node:util"
import { type Bench, shortfalls } from "./Bench.ts"
import { round } from "./Statistics.ts"
import * as StolenTime from "./StolenTime.ts"

const benches: Readonly<Record<string, () => Promise<Bench>>> = {
  warm: async () => (await import("./warm.ts")).warm,
  durable: async () => (await import("./durable.ts")).durable,
  cold: async () => (await import("./cold.ts")).cold,
  save: async () => (await import("./save.ts")).save,
  idle: async () => (await import("./idle.ts")).idle,
  core: async () => (await import("./core.ts")).core,
  decide: async () => (await import("./decide.ts")).decide,
  storm: async () => (await import("./storm.ts")).storm,
  sim: async () => (await import("./sim.ts")).sim,
  fidelity: async () => (await import("./fidelity.ts")).fidelity,
  nats: async () => (await import("./nats.ts")).nats,
  clusters: async () => (await import("./clusters.ts")).clusters,
  many: async () => (await import("./many.ts")).many
}

const repetitionsMin = 3
/** Beyond that figures waver by more than they differ. */
const stolenShareMax = 0.02

const say = (line: string) => process.stderr.write(`${line}\n`)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean" }, repetitions: { type: "string", default: "3" } }
})
const [name = ""] = positionals
const load = benches[name]
const repetitions = Number(values.repetitions)

if (load === undefined || !Number.isInteger(repetitions) || repetitions < 1) {
  say(`npm run bench -- NAME [--json] [--repetitions N], where NAME is one of ${Object.keys(benches).join(", ")}`)
  process.exitCode = 1
} else {
  if (repetitions < repetitionsMin) say(`${repetitions} rounds say little: the figures that count take 3 or more`)
  const bench = await load()
  const stolenSince = StolenTime.start()
  const result = await bench({ repetitions, say })
  const stolen = stolenSince()
  if (stolen !== undefined && stolen > stolenShareMax) {
    say(
      `the host gave ${Math.round(stolen * 100)} % of the processors to others meanwhile: measure again when it is quiet`
    )
  }
  const short = shortfalls(result)
  for (const line of short) say(`SHORT OF ITS BUDGET: ${line}`)
  if (short.length === 0) say("every figure is within its budget")
  const stolenShare = stolen === undefined ? {} : { stolen_share: round(stolen) }
  const text = { bench: name, repetitions, ...result.figures, ...stolenShare, ...(short.length === 0 ? {} : { short }) }
  process.stdout.write(`${values.json === true ? JSON.stringify(text) : JSON.stringify(text, null, 2)}\n`)
}
