/**
 * `npm run chaos -- seeds --count N [--seed S] [--json]`: the simulated worlds of N seeds, and of each that fails one
 * command that shows it again.
 *
 * @module
 */
import { commandOf, runSeed, runSeeds } from "./Seeds.ts"

export interface SeedsCommand {
  readonly first: number
  readonly count: number
  readonly json: boolean | undefined
  readonly say: (line: string) => void
}

/** Of the seeds that failed, so many are told at length. */
const explainedMax = 5

/** So many worlds at the most get a disk that lies, until one loses: about two of five do. */
const controlCountMax = 50

export const run = ({ first, count, json, say }: SeedsCommand): boolean => {
  const startedMs = performance.now()
  say(`${count} simulated worlds, from seed ${first}`)
  let done = 0
  let failures = 0
  const { failed, totals } = runSeeds(first, count, ({ seed, wrong, explained }) => {
    if (++done % 1_000 === 0) say(`${done} of ${count}`)
    if (wrong.length === 0) return
    say(commandOf(seed))
    if (++failures <= explainedMax) for (const line of explained) say(line)
  })
  say("the control: a disk that confirms before it syncs, which must lose")
  let controls = 0
  let controlLost = 0
  while (controlLost === 0 && controls < controlCountMax) {
    const { wrong } = runSeed(first + controls++, { isDiskLying: true })
    controlLost = wrong.filter((line) => line.startsWith("lost")).length
  }
  if (controlLost === 0) say("VOID: the control lost nothing, so this run proves nothing")
  const figures = {
    seeds: count,
    failed: failed.map(({ seed }) => commandOf(seed)),
    controls,
    controlLost,
    isVoid: controlLost === 0,
    ...totals,
    seed: first,
    seconds: Math.round((performance.now() - startedMs) / 1000)
  }
  process.stdout.write(`${json === true ? JSON.stringify(figures) : JSON.stringify(figures, null, 2)}\n`)
  return failed.length === 0 && controlLost > 0
}
