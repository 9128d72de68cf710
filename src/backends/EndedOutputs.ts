/**
 * What instances that ended had printed, kept for a while for those who ask why.
 *
 * @module
 */
import { RecentMap } from "../core/collections/RecentMap.ts"
import type * as OutputTail from "./OutputTail.ts"

/** For so long, so many, and so much of each: 12.5 MiB at most. */
const keptMs = 10 * 60_000
const keptMax = 200
const keptBytesMax = 64 * 1024
const lastBytesMax = 4096

export interface EndedOutputs {
  /** Its output is over; answers its last lines, at most 4 KiB. */
  readonly keep: (instanceId: string, output: OutputTail.OutputTail, atMs: number) => string
  /** The id lives again. */
  readonly forget: (instanceId: string) => void
  readonly get: (instanceId: string) => OutputTail.OutputTail | undefined
}

export const make = (): EndedOutputs => {
  const kept = new RecentMap<string, { readonly output: OutputTail.OutputTail; readonly endedAtMs: number }>()

  const forgetOld = () => {
    kept.trim(keptMax)
    for (let oldest = kept.oldest(); oldest !== undefined; oldest = kept.oldest()) {
      if (performance.now() - oldest[1].endedAtMs < keptMs) return
      kept.delete(oldest[0])
    }
  }

  return {
    keep: (instanceId, output, atMs) => {
      output.end(atMs)
      const last = output.text(lastBytesMax)
      output.shrink(keptBytesMax)
      kept.set(instanceId, { output, endedAtMs: performance.now() })
      forgetOld()
      return last
    },
    forget: (instanceId) => void kept.delete(instanceId),
    get: (instanceId) => {
      forgetOld()
      return kept.get(instanceId)?.output
    }
  }
}
