/**
 * Which arrivals are refused and why, as the laws L7, L10, L11, L20 and L25 of `Buffer.ts` say it: an oracle that knows
 * the requests alone and counts them anew each time.
 *
 * @module
 */
import type { Arrived, Refusal } from "../src/core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../src/core/buffer/BufferOptions.ts"

/** A request that is not forgotten. */
export interface Known {
  readonly tenant: string
  readonly isLive: boolean
  readonly sizeBytes: number
}

export interface Situation {
  readonly options: BufferOptions
  readonly known: ReadonlyArray<Known>
  readonly isStoreFailed: boolean
}

/** Without the time to wait, which is an estimate. */
export const nameOf = (refusal: Refusal): string => {
  switch (refusal.kind) {
    case "queue-full":
    case "tenant-full":
      return `${refusal.kind} by ${refusal.limit}`
    case "store-failed":
      return `${refusal.kind}, ${refusal.kept} kept`
    case "idempotency-conflict":
      return `${refusal.kind} with ${refusal.sequence}`
    default:
      return refusal.kind
  }
}

/** The law that a refusal is about. */
export const lawOf = (name: string): string => {
  if (name.startsWith("tenant-full")) return "L25"
  if (name.startsWith("store-failed")) return "L20"
  return name === "deadline-passed" ? "L11" : "L10"
}

/** Before anybody looks at its key. */
export const atOnce = ({ isStoreFailed }: Situation, { deadlineMs, nowMs }: Arrived): string | null =>
  isStoreFailed ? "store-failed, nothing kept" : deadlineMs <= nowMs ? "deadline-passed" : null

/** For want of room. */
export const forRoom = ({ options, known }: Situation, { tenant, sizeBytes }: Arrived): string | null => {
  const { pendingCountMax, pendingBytesMax, rememberedCountMax = 0, tenantShareMax = 1 } = options
  const live = known.filter(({ isLive }) => isLive)
  const knownMax = pendingCountMax + rememberedCountMax
  if (live.length >= pendingCountMax || known.length >= knownMax) return "queue-full by count"
  if (bytesOf(live) + sizeBytes > pendingBytesMax) return "queue-full by bytes"
  const own = (of: ReadonlyArray<Known>) => of.filter((each) => each.tenant === tenant)
  const factor = tenantShareMax / (1 - tenantShareMax)
  const isTaken = (held: number, free: number) => held > 0 && held >= factor * free
  const isCountTaken =
    isTaken(own(live).length, pendingCountMax - live.length) || isTaken(own(known).length, knownMax - known.length)
  if (isCountTaken) return "tenant-full by count"
  return isTaken(bytesOf(own(live)), pendingBytesMax - bytesOf(live)) ? "tenant-full by bytes" : null
}

const bytesOf = (requests: ReadonlyArray<Known>): number => requests.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
