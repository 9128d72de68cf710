/**
 * Runs simulated worlds, one for each seed, and judges them: by the history that their callers and workers saw, and by
 * what must hold at each step.
 *
 * @module
 */
import { type Machine, rightMachine } from "../../../property-tests/BufferWorld.ts"
import { type Leases, sound } from "../../../property-tests/zoo/leaseBugs.ts"
import * as Buffer from "../../../src/core/buffer/Buffer.ts"
import { LogHash } from "../../../src/core/simulation/LogHash.ts"
import { type Counts, check } from "../../history/Checker.ts"
import { explain } from "../Explain.ts"
import { stallMaxMs, World } from "./World.ts"

export interface Variant {
  readonly machine?: Machine
  readonly leases?: Leases
  /** The disk confirms before it has synced. */
  readonly isDiskLying?: boolean
  /** The log takes the appends of an owner that was deposed. */
  readonly isUnfenced?: boolean
  /** `memory`: calls without a key are never written. */
  readonly durability?: "accepted" | "memory"
}

export interface SeedReport {
  readonly seed: number
  /** Of the whole history. */
  readonly hash: string
  readonly counts: Counts
  /** What is wrong, the law first; none: it held. */
  readonly wrong: ReadonlyArray<string>
  /** The same, each with what was seen of its request. */
  readonly explained: ReadonlyArray<string>
  readonly met: Readonly<Record<string, number>>
  readonly eventCount: number
}

/** As production does it: in place. */
const inPlace: Machine = { ...rightMachine, step: Buffer.advance }

export const runSeed = (seed: number, variant: Variant = {}): SeedReport => {
  const { leases = sound, isDiskLying = false, isUnfenced = false, durability = "accepted" } = variant
  const machine = variant.machine ?? (seed % 2 === 0 ? inPlace : rightMachine)
  const world = new World({ seed, machine, leases, controls: { isDiskLying, isUnfenced }, durability })
  const thrown: Array<string> = []
  try {
    world.live()
  } catch (error) {
    thrown.push(`total: a step threw ${error instanceof Error ? error.stack : String(error)}`)
  }
  const { history, shards, timeline } = world
  // A stalled worker starts what it was given before its stall.
  const { verdicts, counts } = check(history, { startSlackMs: stallMaxMs + 300 })
  const broken = shards.flatMap(({ name, invariants }) =>
    invariants.broken.map(({ law, atMs, what }) => `${law} (${name}, ${atMs}): ${what}`)
  )
  const judged = verdicts.map(({ law, about, what }) => `${law}: ${about}: ${what}`)
  const hash = new LogHash()
  for (const entry of history) hash.text(JSON.stringify(entry))
  const disks = shards.map(({ disk }) => disk.met)
  const sum = (of: (disk: (typeof disks)[number]) => number) => disks.reduce((total, disk) => total + of(disk), 0)
  return {
    seed,
    hash: hash.hex,
    counts,
    wrong: [...thrown, ...broken, ...judged],
    explained: [...thrown, ...broken, ...verdicts.slice(0, 3).flatMap((verdict) => explain(history, verdict))],
    met: {
      ...world.met,
      tornBatches: sum(({ torn }) => torn),
      unsyncedLost: sum(({ lost }) => lost),
      syncErrors: sum(({ syncErrors }) => syncErrors),
      conflicts: sum(({ conflicts }) => conflicts),
      fullRefusals: sum(({ refused }) => refused)
    },
    eventCount: timeline.eventCount
  }
}

/** What reproduces a seed that failed. */
export const commandOf = (seed: number): string => `npm run chaos -- seeds --seed ${seed} --count 1`

export interface Summary {
  readonly seeds: number
  readonly failed: ReadonlyArray<SeedReport>
  readonly totals: Readonly<Record<string, number>>
}

export const runSeeds = (
  first: number,
  count: number,
  onSeed: (report: SeedReport) => void = () => undefined
): Summary => {
  const failed: Array<SeedReport> = []
  const totals: Record<string, number> = {}
  const add = (name: string, more: number) => {
    totals[name] = (totals[name] ?? 0) + more
  }
  for (let seed = first; seed < first + count; seed++) {
    const report = runSeed(seed)
    if (report.wrong.length > 0) failed.push(report)
    for (const [name, value] of Object.entries({ ...report.counts, ...report.met })) add(name, value)
    add("events", report.eventCount)
    onSeed(report)
  }
  return { seeds: count, failed, totals }
}
