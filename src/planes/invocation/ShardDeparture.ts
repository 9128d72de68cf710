/**
 * Handing a shard over while its calls go on: what waits and what runs moves with it, and what cannot move is waited for.
 *
 * What runs at a worker moves when its call is whole there and nothing of its answer came: the worker names it to the next
 * owner, which knows its lease from the log. A body that is under way in either direction cannot move, since nobody could
 * tell which bytes arrived; nor can what is never written (`durability: memory`).
 *
 * D1 no call is taken while what cannot move is waited for, and that for `quietMs` at most at a time; where it takes longer
 * the shard takes calls again and the next try comes later. D2 all that was ordered is in the log before the lease is given
 * back. D3 with `untilMs` over, a departure that must happen breaks off what cannot move, and any other is given up.
 *
 * @module
 */
import type { OpenShard } from "./OpenShard.ts"
import { nowMs } from "./PlaneClock.ts"
import type { Shard } from "./Shard.ts"

export interface DepartureOptions {
  readonly untilMs: number
  /** The process ends: it has to go. */
  readonly isForced: boolean
  /** False: the shard was lost meanwhile, and there is nothing left to hand over. */
  readonly isStillOurs: () => boolean
  /** Calls wait for the next owner from now on, or are taken again. */
  readonly gate: (isOpen: boolean) => void
  /** Waits, in milliseconds. */
  readonly sleep: (ms: number) => Promise<void>
}

/** How long calls may be held back while others finish. */
const quietMs = 1_500
const lookEachMs = 10
const tryEachMs = 250
/** An answer that has been streaming for so long will not be over soon. */
const longMs = 1_000

/** Answers whether the shard is closed, and everything of it in the log. */
export const depart = async (
  { shard, silence }: OpenShard,
  { untilMs, isForced, isStillOurs, gate, sleep }: DepartureOptions
): Promise<"departed" | "stayed" | "lost"> => {
  for (;;) {
    if (!isStillOurs()) return "lost"
    if (!hasLong(shard)) {
      gate(false)
      const isQuiet = await quiet(shard, Math.min(untilMs, nowMs() + quietMs), isStillOurs, sleep)
      if (!isStillOurs()) return "lost"
      if (isQuiet) break
    }
    if (nowMs() >= untilMs) {
      if (isForced) break
      gate(true)
      return "stayed"
    }
    // What is to end with the process gets nothing new to run meanwhile.
    if (isForced) gate(false)
    else gate(true)
    await sleep(tryEachMs)
  }
  gate(false)
  shard.workers.dismiss()
  await shard.flushed()
  if (!isStillOurs()) return "lost"
  silence()
  shard.depart()
  return "departed"
}

const quiet = async (
  shard: Shard,
  untilMs: number,
  isStillOurs: () => boolean,
  sleep: DepartureOptions["sleep"]
): Promise<boolean> => {
  while (holdsUnmovable(shard)) {
    if (nowMs() >= untilMs || !isStillOurs()) return false
    await sleep(lookEachMs)
  }
  return true
}

const holdsUnmovable = (shard: Shard): boolean => {
  for (const worker of shard.workers.all()) {
    for (const attempt of worker.attempts.values()) {
      if (!attempt.over && (attempt.status !== undefined || !attempt.bodySent)) return true
    }
  }
  for (const entry of shard.entries.all()) if (!entry.isWritten && entry.end === undefined) return true
  return false
}

const hasLong = (shard: Shard): boolean => {
  const sinceMs = nowMs() - longMs
  for (const worker of shard.workers.all()) {
    for (const { over, status, entry } of worker.attempts.values()) {
      if (!over && status !== undefined && (entry.headMs ?? Number.POSITIVE_INFINITY) < sinceMs) return true
    }
  }
  return false
}
