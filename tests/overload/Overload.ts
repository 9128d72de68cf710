/**
 * Ten times what the workers can do: what is taken keeps its pace, what is refused is told at once when to come again,
 * memory stays, and all is as before when the storm is over.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Callers, quantile, type Seen } from "./Load.ts"
import * as PlatformProcess from "./PlatformProcess.ts"

export interface OverloadOptions {
  readonly seconds: number
  /** Times the capacity. */
  readonly factor: number
  readonly say: (line: string) => void
}

/** Capacity is a matter of slots and sleep, not of how fast this machine is. */
const slots = 8
const workMs = 100
const pendingCountMax = 100
const capacityPerSecond = (slots * 1000) / workMs

const facts = (seen: ReadonlyArray<Seen>) => {
  const done = seen.filter(({ status }) => status === 200)
  const refused = seen.filter(({ status }) => status === 429)
  return {
    answered: done.length,
    refused: refused.length,
    others: seen.length - done.length - refused.length,
    withoutRetryAfter: refused.filter(({ retryAfter }) => !(Number(retryAfter) >= 1)).length,
    refusalP50Ms:
      Math.round(
        quantile(
          refused.map(({ ms }) => ms),
          0.5
        ) * 10
      ) / 10,
    refusalP99Ms:
      Math.round(
        quantile(
          refused.map(({ ms }) => ms),
          0.99
        ) * 10
      ) / 10
  }
}

export const run = async ({ seconds, factor, say }: OverloadOptions) => {
  const stateDirectory = mkdtempSync(join(tmpdir(), "millrace-overload-"))
  const platform = await PlatformProcess.start({
    stateDirectory,
    buffer: { pendingCountMax },
    deployment: { minInstances: 2, maxInstances: 2, concurrency: slots / 2 }
  })
  const callers = new Callers(`${platform.gatewayUrl}/f/load/sleep?ms=${workMs}`, 4 * pendingCountMax)
  let peakBytes = 0
  const watch = setInterval(() => {
    peakBytes = Math.max(peakBytes, platform.residentBytes())
  }, 50)
  try {
    const until = (ms: number) => {
      const endMs = performance.now() + ms
      return () => performance.now() >= endMs
    }
    const calmMs = Math.min(10_000, seconds * 1000)
    // Warm: both instances are there, code is compiled, buffers have their size.
    await callers.closedLoop(2 * slots, until(calmMs / 2))
    say(`calm: ${calmMs} ms of ${2 * slots} callers`)
    peakBytes = 0
    const calmFromMs = platform.processorMs()
    const calm = await callers.closedLoop(2 * slots, until(calmMs))
    const calmProcessorMs = platform.processorMs() - calmFromMs
    const calmPeakBytes = peakBytes
    const calmPerSecond = (calm.filter(({ status }) => status === 200).length * 1000) / calmMs
    say(`storm: ${factor} times ${capacityPerSecond} a second for ${seconds} s`)
    peakBytes = 0
    const startedMs = performance.now()
    const storm = await callers.openLoop(factor * capacityPerSecond, seconds * 1000)
    const stormMs = performance.now() - startedMs
    const stormProcessorMs = platform.processorMs() - calmFromMs - calmProcessorMs
    const stormPeakBytes = peakBytes
    const stormFacts = facts(storm)
    // Normal again: a call that waits for nothing but its work.
    const overMs = performance.now()
    let normalAfterMs = Number.POSITIVE_INFINITY
    while (performance.now() - overMs < 30_000) {
      const { status, ms } = await callers.call()
      if (status !== 200 || ms > 2 * workMs) continue
      normalAfterMs = performance.now() - overMs
      break
    }
    return {
      capacityPerSecond,
      calmPerSecond: Math.round(calmPerSecond * 10) / 10,
      stormPerSecond: Math.round((stormFacts.answered * 10_000) / stormMs) / 10,
      keptShare: Math.round((stormFacts.answered * 1000) / stormMs / calmPerSecond / 0.01) / 100,
      offered: storm.length,
      calmProcessorMsEach: Math.round((calmProcessorMs / calm.length) * 100) / 100,
      stormProcessorMsEach: Math.round((stormProcessorMs / storm.length) * 100) / 100,
      ...stormFacts,
      calmPeakMiB: Math.round(calmPeakBytes / 1_048_576),
      stormPeakMiB: Math.round(stormPeakBytes / 1_048_576),
      memoryShare: Math.round((stormPeakBytes / calmPeakBytes) * 100) / 100,
      normalAfterMs: Math.round(normalAfterMs)
    }
  } finally {
    clearInterval(watch)
    callers.close()
    await platform.stop()
    rmSync(stateDirectory, { recursive: true, force: true })
  }
}
