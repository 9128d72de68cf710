/**
 * Orderings gone wrong on purpose: each has one bug that a named law must kill (`BufferOrder.laws.test.ts`).
 *
 * @module
 */
import type { Arrived, Event } from "../../src/core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../../src/core/buffer/BufferOptions.ts"
import type { Lane } from "../../src/core/buffer/BufferState.ts"
import * as IntMap from "../../src/core/collections/IntMap.ts"
import * as Table from "../../src/core/collections/Table.ts"
import { type Ordering, rightOrdering } from "../BufferQueue.ts"

const within = (change: (options: BufferOptions) => BufferOptions): Ordering => ({
  ...rightOrdering,
  empty: (options) => rightOrdering.empty(change(options)),
  restore: (snapshot, options) => rightOrdering.restore(snapshot, change(options))
})

const hearing = (change: (event: Event) => Event): Ordering => ({
  ...rightOrdering,
  step: (state, event) => rightOrdering.step(state, change(event))
})

const hearingArrivals = (change: (arrived: Arrived) => Arrived): Ordering =>
  hearing((event) => (event._tag === "Arrived" ? change(event) : event))

/** What one tenant has lost once comes last, and there are always others. */
export const starvesATenant = hearingArrivals((arrived) =>
  arrived.tenant === "tenant-1" ? { ...arrived, redelivery: { delayMs: 1e9, delayMaxMs: 1e9, seed: 0 } } : arrived
)

/** One tenant's requests are of the better class, whatever they say. */
export const prefersATenant = hearingArrivals((arrived) =>
  arrived.tenant === "tenant-0" ? arrived : { ...arrived, serviceClass: "opportunistic" }
)

/** What was lost is tried again at once. */
export const noBackoff = within((options) => ({ ...options, redeliveryDelayMs: 0, redeliveryDelayMaxMs: 0 }))

export const opportunisticFirst = hearingArrivals((arrived) => ({
  ...arrived,
  serviceClass: arrived.serviceClass === "opportunistic" ? "deadline" : "opportunistic"
}))

/** Who comes first is served first, of whatever class. */
export const oneClass = hearingArrivals((arrived) => ({ ...arrived, serviceClass: "deadline" }))

/** What is opportunistic waits for as long as there are others. */
export const neverAges = within(({ opportunisticWaitMaxMs: _, ...options }) => options)

/** Changes what is kept of tenants that have nothing ready. */
const resting = (change: (lane: Lane) => Lane): Ordering => ({
  ...rightOrdering,
  step: (before, event) => {
    const [after, commands] = rightOrdering.step(before, event)
    let { versions } = after
    IntMap.forEach(after.versions.rows, (version, number) => {
      let { lanes } = version
      IntMap.forEach(version.lanes, (lane, key) => {
        if (lane.queue.size === 0) lanes = IntMap.set(lanes, key, change(lane))
      })
      if (lanes !== version.lanes) versions = Table.replace(versions, number, { ...version, lanes })
    })
    return [{ ...after, versions }, commands]
  }
})

/** Who has nothing ready gets back all that can be saved, whether or not a round has passed. */
export const savesAtOnce = resting((lane) => ({ ...lane, deficit: 100 }))

/** Counts the request itself among those before it. */
export const wrongPosition: Ordering = {
  ...rightOrdering,
  position: (state, sequence) => {
    const ahead = rightOrdering.position(state, sequence)
    return ahead === undefined ? undefined : ahead + 1
  }
}

/** Everybody is next. */
export const expectsAtOnce: Ordering = {
  ...rightOrdering,
  expectedStartMs: (state, sequence, nowMs) =>
    rightOrdering.expectedStartMs(state, sequence, nowMs) === undefined ? undefined : nowMs
}
