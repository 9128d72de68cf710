/**
 * Two copies of the control plane as real processes: one leads, and what becomes of it stops nothing.
 */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { eventually } from "../support/TestPlatform.ts"
import * as Services from "./Services.ts"

describe.skipIf(natsIsMissing)("copies of the control plane", () => {
  let nats: RunningNats | undefined
  let services: Services.Services
  let invocation: Services.Service
  let copies: ReadonlyArray<Services.Service>

  beforeAll(async () => {
    nats = await startNats()
    services = Services.make(nats, "leader")
    const [first, ...rest] = await Promise.all([
      services.start("invocation"),
      services.start("agent"),
      services.start("control"),
      services.start("control")
    ])
    invocation = first
    copies = rest.slice(1)
  }, 60_000)
  afterAll(async () => {
    await services?.close()
    await nats?.remove()
  })

  const epochOf = (copy: Services.Service) => {
    const last = copy.lines.findLast(({ event }) => event === "leader")
    return last?.["leads"] === true ? Number(last["epoch"]) : undefined
  }
  const leader = (among: ReadonlyArray<Services.Service> = copies) =>
    eventually("one of them leads", () => among.find((copy) => epochOf(copy) !== undefined))
  const call = (name: string, path: string) => fetch(`${invocation.facts["gateway"]}/f/${name}${path}`)
  const pidOf = async (name: string) => {
    const seen = await eventually(`${name} answers`, async () => {
      const response = await call(name, "/inspect")
      return response.status === 200 ? response.text() : undefined
    })
    return Number(JSON.parse(seen).pid)
  }

  it("the one that stands by answers reads and takes writes, and starts what waits when the leader was killed", async () => {
    const first = await leader()
    const standby = copies.find((copy) => copy !== first)!
    assert.strictEqual((await standby.readyz()).status, 200)
    await services.cli(standby, "deploy", services.functionFolder("one"))
    await services.cli(standby, "deploy", services.functionFolder("two"))
    const pid = await pidOf("one")
    await eventually("the one that stands by knows the instance", async () => {
      const all = await Services.instances(services, standby)
      return all.some((one) => one.pid === pid) || undefined
    })
    first.child.kill("SIGKILL")
    const cold = pidOf("two")
    await leader([standby])
    assert.isAbove(epochOf(standby) ?? 0, 1)
    assert.notStrictEqual(await cold, pid)
    assert.strictEqual(await pidOf("one"), pid)
    assert.lengthOf(await Services.instances(services, standby), 2)
    copies = [standby, await services.start("control")]
  }, 60_000)

  it("a leader that was only paused finds itself deposed when it wakes, and what it missed makes it order nothing", async () => {
    const paused = await leader()
    const next = copies.find((copy) => copy !== paused)!
    const epoch = epochOf(paused)!
    const before = await eventually("the one that was started last knows both instances", async () => {
      const all = await Services.instances(services, next)
      return all.length === 2 ? all : undefined
    })
    paused.child.kill("SIGSTOP")
    try {
      await leader([next])
      assert.isAbove(epochOf(next) ?? 0, epoch)
      // Demand that the paused one will hear of as well, late.
      await Promise.all([1, 2, 3].map(() => call("one", "/sleep?ms=200")))
      await services.cli(next, "deploy", services.functionFolder("three"))
      await pidOf("three")
    } finally {
      paused.child.kill("SIGCONT")
    }
    await eventually("it knows that it is deposed", () => epochOf(paused) === undefined || undefined)
    await eventually(
      "it is ready, as one that stands by",
      async () => (await paused.readyz()).status === 200 || undefined
    )
    const after = await Services.instances(services, next)
    assert.lengthOf(after, before.length + 1)
    for (const { instanceId } of before)
      assert.include(
        after.map((one) => one.instanceId),
        instanceId
      )
    const seen = await eventually("both copies know the same", async () => {
      const late = await Services.instances(services, paused)
      return late.length === after.length ? late : undefined
    })
    assert.sameMembers(
      seen.map(({ instanceId }) => instanceId),
      after.map(({ instanceId }) => instanceId)
    )
    assert.strictEqual(epochOf(paused), undefined)
  }, 60_000)
})
