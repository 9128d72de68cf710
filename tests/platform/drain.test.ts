/**
 * Scaling never kills work: whoever goes finishes what it holds, however long that may take by its deadline, and those go
 * first that hold least.
 */
import { describe, expect, it } from "vitest"
import { deploymentDefaults } from "../../src/planes/control/Domain.ts"
import { eventually, liveInstances, type TestFunction } from "../support/TestPlatform.ts"
import { type Answer, call } from "./support/Client.ts"
import { givenPlatform, live, peculiar, printed } from "./support/Given.ts"
import { connect } from "./support/RawWorker.ts"

/** Neither a worker nor ended by SIGTERM: it is to go for as long as its grace. */
const deafToTerm = {
  command: ["node", "-e", "process.on('SIGTERM', () => {}); console.log('deaf'); setInterval(() => {}, 1000)"]
}

const given = givenPlatform({ instancesMax: 32 })
const idOf = (answer: Answer) => String(answer.headers["nvcf-reqid"])
const view = (id: string) => given().platform.directory.get(id)

const redeploy = (fn: TestFunction, spec: Partial<typeof deploymentDefaults>) =>
  given().run(
    given().platform.registry.deploy({
      tenant: "default",
      versionId: fn.versionId,
      spec: { ...deploymentDefaults, ...spec }
    })
  )

/** Accepted, and running on an instance. */
const running = async (fn: TestFunction, path: string, headers: Record<string, string> = {}) => {
  const id = idOf(await call(`${fn.url}${path}`, { headers: { prefer: "respond-async", ...headers } }))
  const instanceId = await eventually(`${path} runs`, () => {
    const found = view(id)
    return found?.state === "leased" ? (found.instanceId ?? undefined) : undefined
  })
  return { id, instanceId }
}

const ready = (fn: TestFunction) =>
  eventually(`${fn.name} is ready`, () => liveInstances(given(), fn).some(({ state }) => state === "ready"))

const result = (id: string) => call(`${given().platform.gatewayUrl}/requests/${id}/result?wait=60`)

describe.concurrent("an instance that is drained", () => {
  it("finishes a request whose deadline is later than the timeout of its deployment", async () => {
    const fn = await given().deploy("long-deadline", { minInstances: 1, requestTimeoutMs: 700, graceMs: 100 })
    await ready(fn)
    const { id, instanceId } = await running(fn, "/sleep?ms=3000", { "millrace-deadline": "20s" })
    await given().run(given().platform.registry.undeploy("default", fn.versionId))
    await eventually(
      "it drains",
      () => given().platform.control.instance(instanceId)?.state === "draining" || undefined
    )
    const answer = await result(id)
    expect([answer.status, answer.text]).toEqual([200, "slept 3000"])
    expect(view(id)).toMatchObject({ attempt: 1, state: "responded" })
    await eventually("it is gone", () => liveInstances(given(), fn).length === 0 || undefined)
  })

  it("is ended soon after the deadlines of what it holds, when its function does not stop by itself", async () => {
    const fn = await given().deploy("deaf", { minInstances: 1, requestTimeoutMs: 500, graceMs: 100 }, peculiar)
    await ready(fn)
    const { id, instanceId } = await running(fn, "/deaf", { "millrace-deadline": "5s" })
    await given().run(given().platform.registry.undeploy("default", fn.versionId))
    await eventually(
      "it drains",
      () => given().platform.control.instance(instanceId)?.state === "draining" || undefined
    )
    expect((await result(id)).status).toBe(504)
    expect(view(id)).toMatchObject({ state: "expired", attempt: 1 })
    await eventually("it is gone", () => liveInstances(given(), fn).length === 0 || undefined)
    const endedAtMs = given().platform.control.instance(instanceId)?.endedAtMs ?? Number.NaN
    expect(endedAtMs - (view(id)?.deadlineMs ?? Number.NaN)).toBeGreaterThan(-50)
    expect(endedAtMs - (view(id)?.deadlineMs ?? Number.NaN)).toBeLessThan(30_000)
  })

  it("is the one that holds least, and takes nothing new while it finishes", async () => {
    const spec = { minInstances: 2, maxInstances: 2, concurrency: 3, idleWindowMs: 500 }
    const fn = await given().deploy("least-busy", spec, peculiar)
    await eventually("two are ready", () => {
      const ready = liveInstances(given(), fn).filter(({ state }) => state === "ready")
      return ready.length === 2 || undefined
    })
    const held = [
      await running(fn, "/forever?name=1"),
      await running(fn, "/forever?name=2"),
      await running(fn, "/forever?name=3")
    ]
    const counts = new Map<string, number>()
    for (const { instanceId } of held) counts.set(instanceId, (counts.get(instanceId) ?? 0) + 1)
    const [[busiest], [least]] = [...counts].sort(([, left], [, right]) => right - left) as [
      [string, number],
      [string, number]
    ]
    expect([counts.get(busiest), counts.get(least)]).toEqual([2, 1])
    // Figures reach the control plane within 100 ms, by an earlier timer of this very process.
    await new Promise((resolve) => setTimeout(resolve, 150))
    await redeploy(fn, { ...spec, minInstances: 0, maxInstances: 1 })
    await eventually(
      "the least busy one drains",
      () => given().platform.control.instance(least)?.state === "draining" || undefined
    )
    expect(given().platform.control.instance(busiest)?.state).toBe("ready")
    const next = await running(fn, "/once?name=next&ms=300")
    expect(next.instanceId).toBe(busiest)
    for (const { id } of held) expect(view(id)?.state).toBe("leased")
    await call(`${given().platform.gatewayUrl}/requests/${held.find(({ instanceId }) => instanceId === least)?.id}`, {
      method: "DELETE"
    })
    await eventually(
      "it leaves when it is done",
      () => given().platform.control.instance(least)?.state === "stopped" || undefined
    )
    expect(live(given(), fn.versionId).length).toBeGreaterThanOrEqual(2)
    for (const { id } of held) await call(`${given().platform.gatewayUrl}/requests/${id}`, { method: "DELETE" })
  })

  it("is given nothing when its worker connects after it was told to go", async () => {
    const spec = { minInstances: 1, maxInstances: 1, idleWindowMs: 100, graceMs: 10_000 }
    const fn = await given().deploy("late-worker", spec, deafToTerm)
    await eventually("it does not hear SIGTERM", async () => (await printed(given(), fn.versionId)) || undefined)
    const [{ instanceId } = { instanceId: "none" }] = liveInstances(given(), fn)
    await redeploy(fn, { ...spec, minInstances: 0 })
    await eventually(
      "it is to go",
      () => given().platform.control.instance(instanceId)?.state === "draining" || undefined
    )
    const worker = await connect(given(), fn, { instanceId })
    worker.ready()
    await eventually("its worker is told", () => worker.heard.find(({ _tag }) => _tag === "Drain"))
    const id = idOf(await call(`${fn.url}/`, { headers: { prefer: "respond-async" } }))
    await eventually("another one is ordered", () =>
      liveInstances(given(), fn).find((other) => other.instanceId !== instanceId)
    )
    expect(view(id)).toMatchObject({ state: "pending", attempt: 0 })
    expect(worker.heard.filter(({ _tag }) => _tag === "Assign")).toEqual([])
    worker.vanish()
  })

  it("keeps the requests of every caller while a version goes up and down under load", async () => {
    const spec = { minInstances: 0, maxInstances: 4, concurrency: 2, idleWindowMs: 200, graceMs: 100 }
    const fn = await given().deploy("waves", spec)
    await call(`${fn.url}/`)
    const answers: Array<Promise<Answer>> = []
    for (let wave = 0; wave < 5; wave++) {
      for (let index = 0; index < 8; index++) answers.push(call(`${fn.url}/sleep?ms=${50 + 60 * index}`))
      await redeploy(fn, { ...spec, maxInstances: wave % 2 === 0 ? 1 : 4 })
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
    for (const answer of await Promise.all(answers)) {
      expect(answer.status).toBe(200)
      const seen = view(idOf(answer))
      expect(seen?.attempt, JSON.stringify(seen?.history)).toBe(1)
    }
  }, 40_000)
})
