/**
 * Many requests that wait: what each costs in memory beyond its body on disk, and how soon after a total restart the
 * first of them is given to a worker.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Callers } from "./Load.ts"
import * as PlatformProcess from "./PlatformProcess.ts"

const headers = { prefer: "respond-async", "content-type": "application/json", "user-agent": "overload/1" }

const fill = async (url: string, count: number, bodyBytes: number) => {
  const callers = new Callers(url, 64)
  let left = count
  const body = "x".repeat(bodyBytes)
  const seen = await callers.closedLoop(64, () => left-- <= 0, { headers, body })
  callers.close()
  const accepted = seen.filter(({ status }) => status === 202).length
  if (accepted !== seen.length) throw new Error(`${seen.length - accepted} of ${seen.length} were not accepted`)
  return accepted
}

const total = ({ heapUsed, external }: PlatformProcess.Memory) => heapUsed + external

/** The most of some readings: snapshots of the log are written meanwhile, and are part of what waiting costs. */
const mostOf = async (platform: PlatformProcess.PlatformProcess, forMs: number): Promise<PlatformProcess.Memory> => {
  const untilMs = performance.now() + forMs
  let most = await platform.memory()
  while (performance.now() < untilMs) {
    await new Promise((resolve) => setTimeout(resolve, 500))
    const next = await platform.memory()
    if (total(next) > total(most)) most = next
  }
  return most
}

export const memory = async (options: {
  readonly count: number
  readonly bodyBytes: number
  /** How long it is watched then. */
  readonly restMs: number
  readonly say: (line: string) => void
}) => {
  const stateDirectory = mkdtempSync(join(tmpdir(), "millrace-pending-"))
  // One tenant is not given all the room there is.
  const buffer = { pendingCountMax: 2 * options.count }
  const platform = await PlatformProcess.start({
    stateDirectory,
    mute: true,
    buffer,
    deployment: { maxInstances: 1, startDeadlineMs: 3_600_000 }
  })
  try {
    const url = `${platform.gatewayUrl}/f/load/sleep?ms=1`
    const warm = await fill(url, 500, options.bodyBytes)
    const before = await platform.memory()
    options.say(`${before.pending} wait, ${Math.round(before.heapUsed / 1024)} KiB of heap`)
    const count = await fill(url, options.count - warm, options.bodyBytes)
    const after = await mostOf(platform, options.restMs)
    await platform.kill()
    options.say(`${after.pending} wait; killed`)
    const again = await PlatformProcess.start({ stateDirectory, mute: true, buffer })
    try {
      const readBack = await again.memory()
      const each = (bytes: number) => Math.round(bytes / count)
      return {
        pending: after.pending,
        heapBytesEach: each(after.heapUsed - before.heapUsed),
        bytesEach: each(total(after) - total(before)),
        readBack: readBack.pending + readBack.leased,
        readBackBytesEach: each(total(readBack) - total(before)),
        heapMiB: Math.round(after.heapUsed / 1_048_576),
        residentMiB: Math.round(after.rss / 1_048_576)
      }
    } finally {
      await again.kill()
    }
  } finally {
    await platform.kill()
    rmSync(stateDirectory, { recursive: true, force: true })
  }
}

export const restart = async (options: { readonly count: number; readonly say: (line: string) => void }) => {
  const stateDirectory = mkdtempSync(join(tmpdir(), "millrace-restart-"))
  // One at a time and each a long while, so that nearly all wait when the plug is pulled.
  const deployment = { maxInstances: 1, concurrency: 1 }
  const first = await PlatformProcess.start({ stateDirectory, deployment })
  try {
    const accepted = await fill(`${first.gatewayUrl}/f/load/sleep?ms=60000`, options.count, 100)
    options.say(`${accepted} wait; killed`)
    await first.kill()
    const second = await PlatformProcess.start({ stateDirectory, deployment })
    try {
      const firstLeaseMs = await second.firstLease
      const processorMs = second.processorMs()
      const { pending, leased } = await second.memory()
      return {
        accepted,
        recordsReplayed: second.recordsReplayed,
        found: pending + leased,
        startMs: Math.round(second.startMs),
        firstDeliveredMs: Math.round(firstLeaseMs),
        processorMs
      }
    } finally {
      await second.kill()
    }
  } finally {
    await first.kill()
    rmSync(stateDirectory, { recursive: true, force: true })
  }
}
