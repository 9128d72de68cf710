/**
 * One tenant at a hundred times its share, in virtual time over the machine that decides in production: the other one's
 * time in the queue stays as it was when both kept to their shares.
 */
import { expect, it } from "vitest"
import * as Buffer from "../../src/core/buffer/Buffer.ts"
import type { Event } from "../../src/core/buffer/BufferEvent.ts"
import { defaults } from "../../src/core/buffer/BufferOptions.ts"
import { quantile } from "./Load.ts"

const slots = 16
const workMs = 100
const capacityPerMs = slots / workMs
const shareOfEach = capacityPerMs / 2
/** A caller that sends without end is held back by the bound of the queue; here by its own number. */
const backlogMax = 2_000

/** Numbers between 0 and 1 from a seed (mulberry32). */
const random = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Waits of the quiet tenant, who takes four fifths of its share; the other one takes `times` its own. */
const waits = (times: number, forMs: number, seed: number): ReadonlyArray<number> => {
  const chance = random(seed)
  const after = (meanMs: number) => -Math.log(1 - chance()) * meanMs
  const rate = { quiet: 0.8 * shareOfEach, loud: times * shareOfEach } as const
  const next = { quiet: after(1 / rate.quiet), loud: after(1 / rate.loud) }
  const arrivedMs = new Map<number, { readonly atMs: number; readonly tenant: keyof typeof next }>()
  const ends: Array<{ readonly atMs: number; readonly sequence: number; readonly token: number }> = []
  const seen: Array<number> = []
  let state = Buffer.empty({ ...defaults, pendingCountMax: 1_000_000 })
  let sequence = 0
  let loudWaiting = 0
  const send = (nowMs: number, event: Event) => {
    const [after_, commands] = Buffer.step(state, event)
    state = after_
    for (const command of commands) {
      if (command._tag !== "Assign") continue
      const arrival = arrivedMs.get(command.sequence)
      if (arrival?.tenant === "quiet") seen.push(nowMs - arrival.atMs)
      else if (loudWaiting-- === backlogMax) next.loud = nowMs + after(1 / rate.loud)
      arrivedMs.delete(command.sequence)
      const end = { atMs: nowMs + after(workMs), sequence: command.sequence, token: command.token }
      const at = ends.findIndex(({ atMs }) => atMs > end.atMs)
      if (at < 0) ends.push(end)
      else ends.splice(at, 0, end)
    }
  }
  send(0, { _tag: "WorkerJoined", nowMs: 0, workerId: "w", instanceId: "i", version: "v", slots, holds: [] })
  for (let nowMs = 0; nowMs < forMs; ) {
    const [end] = ends
    const tenant = next.quiet < next.loud ? "quiet" : "loud"
    if (end !== undefined && end.atMs <= next[tenant]) {
      ends.shift()
      nowMs = end.atMs
      const { sequence, token } = end
      send(nowMs, { _tag: "ResponseEnded", nowMs, sequence, workerId: "w", token, resultBytes: 0 })
      continue
    }
    nowMs = next[tenant]
    next[tenant] += after(1 / rate[tenant])
    // Held back until one of its own is taken; arrivals by chance have no memory.
    if (tenant === "loud" && ++loudWaiting >= backlogMax) next.loud = Number.POSITIVE_INFINITY
    sequence++
    arrivedMs.set(sequence, { atMs: nowMs, tenant })
    send(nowMs, {
      _tag: "Arrived",
      nowMs,
      sequence,
      requestId: `${tenant}-${sequence}`,
      tenant,
      version: "v",
      mode: "sync",
      durability: "memory",
      deadlineMs: nowMs + 86_400_000,
      sizeBytes: 1,
      maxAttempts: 1
    })
  }
  return seen
}

it("a tenant at a hundred times its share raises the 99th percentile of another's wait by at most a fifth", () => {
  const pooled = (times: number) => [1, 2, 3, 4].flatMap((seed) => waits(times, 300_000, seed))
  const [calm, storm] = [pooled(1), pooled(100)]
  expect(Math.min(calm.length, storm.length)).toBeGreaterThan(60_000)
  const [calmMs, stormMs] = [quantile(calm, 0.99), quantile(storm, 0.99)]
  expect(stormMs, `${stormMs.toFixed(0)} ms against ${calmMs.toFixed(0)} ms`).toBeLessThanOrEqual(1.2 * calmMs)
}, 60_000)
