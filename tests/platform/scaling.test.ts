/**
 * From zero to an answer and back to zero, decided by the arrival itself, and what the receipt says of it.
 */
import { describe, expect, it } from "vitest"
import type { ScaleDecision } from "../../src/planes/control/ControlView.ts"
import { atZero, eventually, liveInstances, type TestPlatform } from "../support/TestPlatform.ts"
import { type Answer, call, phases } from "./support/Client.ts"
import { givenPlatform, live } from "./support/Given.ts"

const given = givenPlatform({ instancesMax: 32 })

const pidOf = (answer: Answer) => answer.json()["pid"]
const isAlive = (pid: unknown): boolean => {
  try {
    return process.kill(Number(pid), 0)
  } catch {
    return false
  }
}

/** Every decision about this version while the test runs. */
const decisionsOf = ({ platform }: TestPlatform, versionId: string) => {
  const seen: Array<ScaleDecision> = []
  platform.control.onDecision((decision) => {
    if (decision.versionId === versionId) seen.push(decision)
  })
  return seen
}

describe.concurrent("scaling", () => {
  it("wakes one instance for the first call, keeps it warm for the second, and goes back to zero after the idle window", async () => {
    const fn = await given().deploy("woken", { idleWindowMs: 1_000 })
    const decisions = decisionsOf(given(), fn.versionId)
    expect(liveInstances(given(), fn)).toEqual([])
    const first = await call(`${fn.url}/inspect`)
    const second = await call(`${fn.url}/inspect`)
    const answeredAtMs = performance.now()
    expect(pidOf(second)).toBe(pidOf(first))
    expect(given().platform.control.instances({ versionId: fn.versionId })).toHaveLength(1)
    expect(decisions[0]).toMatchObject({ from: 0, to: 1, policy: "demand" })
    expect(decisions[0]?.reason).not.toBe("")
    await atZero(given(), fn)
    expect(performance.now() - answeredAtMs).toBeGreaterThan(900)
    expect(isAlive(pidOf(first))).toBe(false)
    expect(decisions.at(-1)).toMatchObject({ to: 0 })
    const third = await call(`${fn.url}/inspect`)
    expect(pidOf(third)).not.toBe(pidOf(first))
  })

  it("starts one instance for many calls that one instance can take", async () => {
    const fn = await given().deploy("together", { concurrency: 16, maxInstances: 4 })
    const answers = await Promise.all(Array.from({ length: 12 }, () => call(`${fn.url}/inspect`)))
    expect(new Set(answers.map(pidOf)).size).toBe(1)
  })

  it("starts as many as the pending calls need, up to the maximum, and the rest wait their turn", async () => {
    const fn = await given().deploy("spread", { concurrency: 1, maxInstances: 2, idleWindowMs: 1_000 })
    await Promise.all(Array.from({ length: 5 }, () => call(`${fn.url}/sleep?ms=100`)))
    expect(given().platform.control.instances({ versionId: fn.versionId })).toHaveLength(2)
    await atZero(given(), fn)
  })

  it("does not go to zero while one request runs longer than the idle window", async () => {
    const fn = await given().deploy("long", { idleWindowMs: 300 })
    const warm = await call(`${fn.url}/inspect`)
    const slow = await call(`${fn.url}/sleep?ms=1500`)
    expect([slow.status, slow.text]).toEqual([200, "slept 1500"])
    expect(slow.headers["server-timing"]).not.toContain("start;")
    expect(isAlive(pidOf(warm))).toBe(true)
    await atZero(given(), fn)
  })

  it("keeps the minimum running without any call", async () => {
    const fn = await given().deploy("kept", { minInstances: 1, idleWindowMs: 100 })
    await eventually(
      "one is ready",
      () => liveInstances(given(), fn).some(({ state }) => state === "ready") || undefined
    )
    const answer = await call(`${fn.url}/inspect`)
    expect(phases(answer.headers)["start"]).toBeUndefined()
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(isAlive(pidOf(answer))).toBe(true)
  })

  it("never ends an instance that works when another version takes over", async () => {
    const fn = await given().deploy("replaced", { graceMs: 5_000 })
    await call(`${fn.url}/`)
    const slow = call(`${fn.url}/sleep?ms=800`)
    await eventually("it runs", () => live(given(), fn.versionId)[0]?.state === "leased" || undefined)
    await given().run(given().platform.restart(fn.versionId))
    const [old, fresh] = await Promise.all([slow, call(`${fn.url}/inspect`)])
    expect(old.text).toBe("slept 800")
    expect(fresh.status).toBe(200)
    expect(given().platform.control.instances({ versionId: fn.versionId })).toHaveLength(2)
  })
})

describe("the decision to start", () => {
  it("is made in the very turn of the event loop in which the call arrives", async () => {
    const fn = await given().deploy("same-turn")
    const decidedIn: Array<string> = []
    let turn = "before the call"
    given().platform.control.onDecision((decision) => {
      if (decision.versionId === fn.versionId) decidedIn.push(turn)
    })
    // The listener of the gateway's server runs the whole admission; what it leaves for later would be another turn.
    const server = await import("node:http").then(({ Server }) => Server.prototype)
    const emit = server.emit
    server.emit = function (this: typeof server, event: string | symbol, ...rest: ReadonlyArray<unknown>) {
      if (event !== "request") return Reflect.apply(emit, this, [event, ...rest])
      turn = "the arrival's"
      const answer = Reflect.apply(emit, this, [event, ...rest])
      turn = "a later one"
      return answer
    }
    try {
      await call(`${fn.url}/inspect`)
    } finally {
      server.emit = emit
    }
    expect(decidedIn[0]).toBe("the arrival's")
  })

  it("leaves for the agent in at most 10 ms, in the best of five", async () => {
    const functions = await Promise.all(
      Array.from({ length: 5 }, (_, index) => given().deploy(`timed-${index}`, { idleWindowMs: 500 }))
    )
    const delays: Array<number> = []
    for (const fn of functions) {
      const answer = await call(`${fn.url}/inspect`)
      const view = given().platform.directory.get(String(answer.headers["nvcf-reqid"]))
      const [instance] = given().platform.control.instances({ versionId: fn.versionId })
      const timeline = given().platform.control.startTimeline(instance!.instanceId)
      delays.push((timeline?.createdAtMs ?? Number.NaN) - (view?.arrivedAtMs ?? 0))
    }
    // Other work of this computer only adds to it; `bench -- decide` measures the rest.
    expect(Math.min(...delays)).toBeLessThan(10)
  })
})

describe("the receipt of a cold call", () => {
  it("has phases that add up to at least 97 % of the wall time that its caller measured, in the best of three", async () => {
    const shares: Array<number> = []
    for (let index = 0; index < 3; index++) {
      const fn = await given().deploy(`cold-${index}`)
      const answer = await call(`${fn.url}/sleep?ms=250`)
      const seen = phases(answer.headers)
      for (const name of ["admit", "queue", "place", "start", "dispatch", "run", "platform", "total"]) {
        expect(Object.keys(seen), name).toContain(name)
      }
      const following = Object.entries(seen).filter(([name]) => name !== "total" && !name.startsWith("start-"))
      const sum = following.reduce((total, [, ms]) => total + ms, 0)
      expect(Math.abs(sum - (seen["total"] ?? 0))).toBeLessThan(0.1)
      for (const [name, ms] of Object.entries(seen)) expect(ms, name).toBeGreaterThanOrEqual(0)
      const parts = (seen["start-process"] ?? 0) + (seen["start-initialise"] ?? 0) + (seen["start-connect"] ?? 0)
      expect(parts).toBeGreaterThan(0)
      expect(parts).toBeLessThanOrEqual((seen["start"] ?? 0) + 1)
      expect(seen["run"]).toBeGreaterThanOrEqual(245)
      expect(sum).toBeLessThanOrEqual(answer.wallMs + 0.5)
      shares.push(sum / answer.wallMs)
    }
    // What its caller waits for a turn of the processor belongs to no phase.
    expect(Math.max(...shares)).toBeGreaterThanOrEqual(0.97)
  })

  it("says for a warm call that nothing was started", async () => {
    const fn = await given().deploy("warm-receipt")
    await call(`${fn.url}/`)
    const seen = phases((await call(`${fn.url}/`)).headers)
    expect(Object.keys(seen).sort()).toEqual(["admit", "platform", "queue", "run", "total"])
  })

  it("is what the directory tells of the request afterwards", async () => {
    const fn = await given().deploy("told-later")
    const answer = await call(`${fn.url}/`)
    const view = given().platform.directory.get(String(answer.headers["nvcf-reqid"]))
    expect(view).toMatchObject({ state: "responded", attempt: 1, mode: "sync", path: "/" })
    expect(view?.phases.start).toBeCloseTo(phases(answer.headers)["start"] ?? Number.NaN, 0)
    expect(view?.history.map(({ what }) => what)).toContain("the answer began")
  })
})
