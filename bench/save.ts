/**
 * `millrace dev`: from the moment a function's file is written to the whole answer of the next call, which must be the
 * new code's. The call leaves right after the write, while the instance with the old code is still there.
 *
 * People save seconds apart, by when a zygote waits again; so each save waits for one, and what comes at once after
 * another save is measured beside it.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import type { Bench } from "./Bench.ts"
import * as MillraceCommand from "./MillraceCommand.ts"
import { median, quantile, round } from "./Statistics.ts"
import * as Zygotes from "./Zygotes.ts"

const savesPerRound = 15

export const save: Bench = async ({ repetitions, say }) => {
  // Inside the repository, so that the function finds `millrace/worker`.
  const parent = resolve(import.meta.dirname, "../tests/.tmp")
  mkdirSync(parent, { recursive: true })
  const directory = mkdtempSync(join(parent, "bench-save-"))
  const write = (answer: string) =>
    writeFileSync(
      join(directory, "server.ts"),
      `import { serve } from "millrace/worker"\nserve({ fetch: () => new Response("${answer}") })\n`
    )
  write("first")
  writeFileSync(join(directory, "millrace.json"), JSON.stringify({ name: "saved", entry: "./server.ts" }))
  const millrace = await MillraceCommand.start(["dev", directory, "--state", join(directory, ".millrace")], directory)
  try {
    const call = async () => (await fetch(`${millrace.gateway}/f/saved/`)).text()
    await call()
    const medians: Array<number> = []
    const hurried: Array<number> = []
    const slowest: Array<number> = []
    for (let index = 0; index < repetitions; index++) {
      const save = async (wanted: string) => {
        const fromMs = performance.now()
        write(wanted)
        const answer = await call()
        if (answer !== wanted) throw new Error(`after saving "${wanted}" the next call answered "${answer}"`)
        return performance.now() - fromMs
      }
      const took: Array<number> = []
      const atOnce: Array<number> = []
      for (let saved = 0; saved < savesPerRound; saved++) {
        await Zygotes.untilWaiting(millrace.pid)
        took.push(await save(`round ${index}, save ${saved}`))
        atOnce.push(await save(`round ${index}, save ${saved}, again`))
      }
      medians.push(median(took))
      hurried.push(median(atOnce))
      slowest.push(quantile([...took, ...atOnce], 1))
      say(
        `round ${index + 1}: p50 of ${savesPerRound} saves ${median(took).toFixed(1)} ms` +
          `; of those right after another ${median(atOnce).toFixed(1)} ms`
      )
    }
    return {
      figures: {
        save_p50_ms: round(median(medians), 1),
        hurried_p50_ms: round(median(hurried), 1),
        save_max_ms: round(median(slowest), 1)
      },
      budgets: [{ figure: "save_p50_ms", atMost: 150 }]
    }
  } finally {
    await millrace.close()
    rmSync(directory, { recursive: true, force: true })
  }
}
