/**
 * Workers that stand still and come back too late: what they say about a lease that is over is refused and counted, and
 * callers have one answer.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { carryOut, claimUntilEnded, makeAgent, type World } from "../chaos/Caller.ts"
import { explain } from "../chaos/Explain.ts"
import * as PlatformLife from "../chaos/PlatformLife.ts"
import { Recording } from "../chaos/Recording.ts"
import { check } from "../history/Checker.ts"
import type { Attempted, Effected } from "../history/History.ts"
import { call } from "../platform/support/Client.ts"
import { givenPlatform } from "../platform/support/Given.ts"
import { connect, mute } from "../platform/support/RawWorker.ts"
import { eventually } from "../support/TestPlatform.ts"
import { asyncPlan } from "./DiskWorld.ts"
import * as Health from "./Health.ts"

const leaseMs = 1_000

describe("a worker process that stands still (SIGSTOP) for twice its lease", () => {
  it.each([
    ["and whose connection is given up", 200],
    ["and whose connection is kept", 900]
  ])(
    "%s is refused its late answer, and its caller has one",
    async (_, heartbeatMs) => {
      const directory = mkdtempSync(join(tmpdir(), "millrace-pause-"))
      const stateDirectory = join(directory, "state")
      const life = await PlatformLife.start({
        stateDirectory,
        home: directory,
        durability: "accepted",
        idleWindowMs: 60_000,
        compileCache: PlatformLife.compileCache,
        buffer: { visibilityTimeoutMs: leaseMs },
        heartbeatMs
      })
      const recording = new Recording(directory)
      const world: World = { recording, gatewayUrl: async () => life.gatewayUrl, agent: makeAgent() }
      const seen = <A extends Attempted | Effected>(tag: A["_tag"]) =>
        recording.history().filter((entry): entry is A => entry._tag === tag)
      let stopped: number | undefined
      try {
        const id = String(await carryOut(world, asyncPlan("late", { ms: 500 })))
        await eventually("it runs", () => seen<Attempted>("Attempted")[0])
        const [pid = 0] = recording.alive()
        stopped = pid
        process.kill(pid, "SIGSTOP")
        // Two of its leases, by the clock of whoever gave them: the length of the pause is what this is about.
        await new Promise((resolve) => setTimeout(resolve, 2 * leaseMs))
        process.kill(pid, "SIGCONT")
        stopped = undefined
        const claimed = await claimUntilEnded(world, id, 20_000)
        expect(claimed?.kind).toBe("answer")
        await eventually("the late one has finished its work too", () => seen<Effected>("Effected")[1], 20_000)
        const refused = await eventually(
          "the late answer is refused and counted",
          async () => (await Health.staleMessagesRefused(stateDirectory)) || undefined
        )
        expect(refused).toBeGreaterThanOrEqual(1)
        const again = await claimUntilEnded(world, id, 5_000)
        expect(again).toEqual(claimed)
        const [first] = seen<Attempted>("Attempted")
        expect(claimed?.kind === "answer" && claimed.answer.token).toBeGreaterThan(first?.token ?? 0)
        await life.stop()
        const history = recording.history()
        expect(check(history).verdicts.flatMap((verdict) => explain(history, verdict))).toEqual([])
      } finally {
        if (stopped !== undefined) process.kill(stopped, "SIGCONT")
        world.agent.destroy()
        await life.kill()
        rmSync(directory, { recursive: true, force: true })
      }
    },
    60_000
  )
})

describe("a worker whose leases are all over", () => {
  const given = givenPlatform({ buffer: { visibilityTimeoutMs: leaseMs } })
  const count = 1_000

  it(`has ${count} late answers of ${count} refused and counted`, async () => {
    const { platform } = given()
    const fn = await given().deploy("late", { concurrency: count, requestTimeoutMs: 60_000 }, mute)
    const stale = await connect(given(), fn)
    stale.ready(count)
    const ids: Array<string> = []
    for (let sent = 0; sent < count; sent += 50) {
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          call(`${fn.url}/x`, { body: String(sent + index), headers: { prefer: "respond-async" } })
        )
      )
      // Until the last call is leased all leases live on.
      stale.say({ _tag: "Heartbeat" })
      ids.push(...answers.map(({ headers }) => String(headers["nvcf-reqid"])))
    }
    const first = new Map<string, Awaited<ReturnType<typeof stale.assigned>>>()
    while (first.size < count) {
      const assign = await stale.assigned()
      if (!first.has(assign.requestId)) first.set(assign.requestId, assign)
    }
    // It takes nothing more, so that what it loses goes to the other one.
    stale.say({ _tag: "Draining" })
    const live = await connect(given(), fn)
    live.ready(count)
    const second = new Map<string, Awaited<ReturnType<typeof live.assigned>>>()
    while (second.size < count) {
      const assign = await live.assigned()
      second.set(assign.requestId, assign)
    }
    expect(platform.directory.staleMessagesRefused()).toBe(0)
    for (const assign of first.values()) stale.answer(assign, { body: "late" })
    await eventually("all are refused", () => platform.directory.staleMessagesRefused() >= count || undefined)
    expect(platform.directory.staleMessagesRefused()).toBe(count)
    for (const assign of second.values()) live.answer(assign, { body: "live" })
    const results = await Promise.all(ids.map((id) => call(`${platform.gatewayUrl}/requests/${id}/result?wait=20`)))
    expect(results.filter(({ status, text }) => status === 200 && text === "live").length).toBe(count)
    stale.vanish()
    live.vanish()
  }, 60_000)
})
