/**
 * A platform on a disk with faults, and callers that write down what they see.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { carryOut, claimUntilEnded, makeAgent, type Plan, type World } from "../chaos/Caller.ts"
import { explain } from "../chaos/Explain.ts"
import * as PlatformLife from "../chaos/PlatformLife.ts"
import { Recording } from "../chaos/Recording.ts"
import { check } from "../history/Checker.ts"

export interface DiskWorld {
  readonly directory: string
  readonly stateDirectory: string
  readonly world: World
  readonly life: () => PlatformLife.PlatformLife
  /** Starts the next life. */
  readonly start: (wrapper?: ReadonlyArray<string>) => Promise<PlatformLife.PlatformLife>
  /** Ends this life by SIGKILL. */
  readonly crash: () => Promise<void>
  /** Answers the id when it was promised. */
  readonly carry: (plan: Plan) => Promise<string | undefined>
  readonly promised: ReadonlyArray<string>
  /** Claims all that was promised; gives what is wrong with what was seen. */
  readonly judge: () => Promise<ReadonlyArray<string>>
  readonly close: () => Promise<void>
}

export const asyncPlan = (item: string, order: Partial<Plan["order"]> = {}, more: Partial<Plan> = {}): Plan => ({
  item,
  path: "any",
  isAsync: true,
  key: undefined,
  leaveAfterMs: undefined,
  deadlineMs: undefined,
  claimsAtOnce: false,
  ...more,
  order: { item, ms: 1, bytes: 20, pieces: 0, padding: "", ...order }
})

const settleMs = 30_000
const startTriesMax = 10

/** `stateDirectory`: default one of its own under the temporary directory. */
export const open = (options: { readonly stateDirectory?: string } = {}): DiskWorld => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-disk-"))
  const stateDirectory = options.stateDirectory ?? join(directory, "state")
  mkdirSync(stateDirectory, { recursive: true })
  const recording = new Recording(directory)
  const lifeOptions: PlatformLife.LifeOptions = {
    stateDirectory,
    home: directory,
    durability: "accepted",
    idleWindowMs: 60_000,
    compileCache: PlatformLife.compileCache
  }
  let current: PlatformLife.PlatformLife | undefined
  const life = () => {
    if (current === undefined) throw new Error("the platform has not been started")
    return current
  }
  const world: World = { recording, gatewayUrl: async () => life().gatewayUrl, agent: makeAgent() }
  const promised: Array<string> = []
  return {
    directory,
    stateDirectory,
    world,
    life,
    promised,
    start: async (wrapper = []) => {
      for (let tries = 1; ; tries++) {
        try {
          current = await PlatformLife.start(lifeOptions, {}, wrapper)
          return current
        } catch (error) {
          // libfiu's own thread makes `dup2` in a forked child fail now and then.
          if (tries === startTriesMax || !(error instanceof Error && error.message.includes("spawn EBUSY"))) throw error
        }
      }
    },
    crash: async () => {
      await life().kill()
      recording.see({ _tag: "Crashed" })
    },
    carry: async (plan) => {
      const id = await carryOut(world, plan)
      if (id !== undefined) promised.push(id)
      return id
    },
    judge: async () => {
      await Promise.all(promised.map((id) => claimUntilEnded(world, id, settleMs)))
      await life().stop()
      const history = recording.history()
      return check(history).verdicts.flatMap((verdict) => explain(history, verdict))
    },
    close: async () => {
      await current?.kill()
      world.agent.destroy()
      rmSync(directory, { recursive: true, force: true })
    }
  }
}
