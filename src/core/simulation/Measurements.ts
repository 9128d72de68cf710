/**
 * What is measured of a run. Memory does not grow with the number of requests: waits go into a sketch (within 1 %),
 * everything else is a sum.
 *
 * @module
 */
import type { Terminal } from "../buffer/BufferEvent.ts"
import { QuantileSketch } from "./QuantileSketch.ts"
import { Timeline } from "./Timeline.ts"

export interface FunctionFigures {
  /** Instances that were started. */
  coldStarts: number
  /** From the start of the process to the end of it. */
  instanceMs: number
  /** Time of requests in workers; an attempt that was lost is not in it. */
  busyMs: number
  decisions: number
  /** Up after down, or down after up. */
  directionChanges: number
  lastDirection: number
}

export class Measurements {
  readonly waits = new QuantileSketch()
  readonly functions: ReadonlyArray<FunctionFigures>
  readonly timeline: Timeline | undefined
  readonly ended: Record<Terminal, number> = { responded: 0, failed: 0, expired: 0, cancelled: 0, "dead-lettered": 0 }
  arrivals = 0
  refused = 0
  redelivered = 0
  failedStarts = 0
  withinSlo = 0
  cost = 0

  constructor(functionCount: number, timelineMs: number) {
    this.functions = Array.from({ length: functionCount }, () => ({
      coldStarts: 0,
      instanceMs: 0,
      busyMs: 0,
      decisions: 0,
      directionChanges: 0,
      lastDirection: 0
    }))
    this.timeline = timelineMs > 0 ? new Timeline(timelineMs) : undefined
  }

  waited(waitMs: number, sloWaitMs: number): void {
    this.waits.add(waitMs)
    if (waitMs <= sloWaitMs) this.withinSlo += 1
  }

  decided(index: number, from: number, to: number): void {
    const figures = this.functions[index]!
    const direction = Math.sign(to - from)
    figures.decisions += 1
    if (figures.lastDirection !== 0 && direction !== figures.lastDirection) figures.directionChanges += 1
    figures.lastDirection = direction
  }
}
