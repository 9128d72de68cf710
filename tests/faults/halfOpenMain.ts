/**
 * In a network namespace of its own, as root: a platform and a worker whose packets are dropped from one moment on, so
 * that neither hears anything, not even an end. Prints what came of it as one line of JSON.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { carryOut, claimUntilEnded, makeAgent, type World } from "../chaos/Caller.ts"
import { explain } from "../chaos/Explain.ts"
import * as PlatformLife from "../chaos/PlatformLife.ts"
import { Recording } from "../chaos/Recording.ts"
import { check } from "../history/Checker.ts"
import type { Attempted } from "../history/History.ts"
import { eventually } from "../support/TestPlatform.ts"
import { asyncPlan } from "./DiskWorld.ts"
import * as Health from "./Health.ts"

export interface HalfOpenReport {
  /** From the cut until its lease was over. */
  readonly leaseBackMs: number
  readonly result: string
  readonly attempts: ReadonlyArray<number>
  readonly explained: ReadonlyArray<string>
}

/** Shorter than by default, for a short test; a lease lives three of them where nothing else is said. */
export const heartbeatMs = 1_000

const nft = (script: string) => execFileSync("nft", ["-f", "-"], { input: script })

const main = async (): Promise<HalfOpenReport> => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-half-open-"))
  const stateDirectory = join(directory, "state")
  const life = await PlatformLife.start({
    stateDirectory,
    home: directory,
    durability: "accepted",
    idleWindowMs: 60_000,
    compileCache: PlatformLife.compileCache,
    heartbeatMs
  })
  const recording = new Recording(directory)
  const world: World = { recording, gatewayUrl: async () => life.gatewayUrl, agent: makeAgent() }
  try {
    const id = String(await carryOut(world, asyncPlan("cut off", { ms: 500 })))
    await eventually("it runs", () => recording.history().find(({ _tag }) => _tag === "Attempted"))
    const { port } = new URL(life.workerUrl)
    nft(`table inet cut {
      chain input {
        type filter hook input priority 0
        tcp dport ${port} drop
        tcp sport ${port} drop
      }
    }`)
    const cutMs = performance.now()
    await eventually("its lease is over", async () => {
      const { state } = await Health.control(stateDirectory, `/v1/requests/${id}`)
      return state === "pending" || undefined
    })
    const leaseBackMs = performance.now() - cutMs
    nft("delete table inet cut")
    const claimed = await claimUntilEnded(world, id, 30_000)
    await life.stop()
    const history = recording.history()
    const attempted = history.filter((entry): entry is Attempted => entry._tag === "Attempted")
    return {
      leaseBackMs,
      result: claimed?.kind ?? "nobody answered",
      attempts: attempted.map(({ attempt }) => attempt),
      explained: check(history).verdicts.flatMap((verdict) => explain(history, verdict))
    }
  } finally {
    world.agent.destroy()
    await life.kill()
    rmSync(directory, { recursive: true, force: true })
  }
}

if (process.argv[1] === import.meta.filename) process.stdout.write(`${JSON.stringify(await main())}\n`)
