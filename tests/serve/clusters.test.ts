/**
 * Two clusters under one control plane as real processes: one is cordoned, drained, and lost.
 */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { eventually } from "../support/TestPlatform.ts"
import * as Services from "./Services.ts"

const often = { "agent.heartbeatMs": "300" }

describe.skipIf(natsIsMissing)("several clusters", () => {
  let nats: RunningNats | undefined
  let services: Services.Services
  let invocation: Services.Service
  let control: Services.Service
  let east: Services.Service

  beforeAll(async () => {
    nats = await startNats()
    services = Services.make(nats, "clusters")
    ;[invocation, control, east] = await Promise.all([
      services.start("invocation"),
      services.start("control", { "control.unreachableAfterMs": "1500" }),
      services.start("agent", { "agent.cluster": "east", ...often }),
      services.start("agent", { "agent.cluster": "west", ...often })
    ])
  }, 60_000)
  afterAll(async () => {
    await services?.close()
    await nats?.remove()
  })

  const call = async (path: string) => {
    const response = await fetch(`${invocation.facts["gateway"]}/f/probe${path}`)
    return { status: response.status, text: await response.text() }
  }
  const clusters = async () =>
    (await Services.instances(services, control)).filter(({ state }) => state === "ready").map(({ cluster }) => cluster)
  const only = (cluster: string) =>
    eventually(`the one instance is in ${cluster}`, async () => {
      const all = await clusters()
      return (all.length === 1 && all[0] === cluster) || undefined
    })

  it("a drained cluster is emptied without an error and without a second run, and a cordoned one is given nothing", async () => {
    await eventually("both clusters are known", async () => {
      const known = JSON.parse(await services.cli(control, "clusters", "--json"))
      return known.length === 2 || undefined
    })
    await services.cli(control, "clusters", "cordon", "west")
    await services.cli(control, "deploy", services.functionFolder("probe"))
    await eventually("it answers", async () => (await call("/inspect")).status === 200 || undefined)
    await only("east")

    await services.cli(control, "clusters", "uncordon", "west")
    const long = call("/sleep?ms=2500")
    let isDone = false
    const statuses: Array<number> = []
    const attempts: Array<number> = []
    const calling = (async () => {
      while (!isDone) {
        const { status, text } = await call("/inspect")
        statuses.push(status)
        if (status === 200) attempts.push(JSON.parse(text).attempt)
      }
    })()
    const drained = await services.cli(control, "clusters", "drain", "east")
    assert.include(drained, "draining")
    await only("west")
    assert.strictEqual((await long).text, "slept 2500")
    isDone = true
    await calling
    assert.isTrue(
      statuses.every((status) => status === 200),
      `all were answered: ${[...new Set(statuses)].join()}`
    )
    assert.isTrue(
      attempts.every((attempt) => attempt === 1),
      "none ran twice"
    )
  }, 60_000)

  it("a cluster that is lost is given nothing, its instances are replaced elsewhere, and it is taken in again when it is back", async () => {
    await services.cli(control, "clusters", "uncordon", "east")
    await services.cli(control, "clusters", "drain", "west")
    await only("east")
    await services.cli(control, "clusters", "uncordon", "west")
    east.child.kill("SIGKILL")
    await eventually(
      "it answers from the other cluster",
      async () => (await call("/inspect")).status === 200 || undefined
    )
    await only("west")
    east = await services.start("agent", { "agent.cluster": "east", ...often })
    const shown = await eventually("it is healthy again", async () => {
      const text = await services.cli(control, "clusters", "list")
      return /east +local +healthy/.test(text) ? text : undefined
    })
    assert.match(shown, /west +local +healthy/)
    await only("west")
  }, 60_000)

  it("of two agents for one cluster one acts; paused, it is replaced, and when it wakes it writes nothing and ends", async () => {
    const standby = services.start("agent", { "agent.cluster": "east", ...often })
    await services.cli(control, "clusters", "drain", "west")
    await only("east")
    east.child.kill("SIGSTOP")
    const next = await standby
    assert.isAbove(Number(next.lines.find(({ event }) => event === "cluster")?.["epoch"]), 1)
    // Its instance serves until it is known that its agent does not count it any more.
    await eventually("it answers", async () => (await call("/inspect")).status === 200 || undefined)
    east.child.kill("SIGCONT")
    assert.strictEqual((await east.exited).code, 1)
    assert.match(east.stderr(), /another agent \(epoch \d+\) acts for cluster east now/)
    await eventually("it answers, from an instance of the agent that acts", async () => {
      const { status, text } = await call("/inspect")
      const known = await Services.instances(services, control)
      return (status === 200 && known.some(({ pid }) => pid === JSON.parse(text).pid)) || undefined
    })
    await only("east")
  }, 60_000)
})
