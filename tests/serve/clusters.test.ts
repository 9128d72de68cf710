/**
 * Two clusters under one control plane as real processes: one is cordoned, drained, and lost.
 */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import * as MillraceProcess from "../support/MillraceProcess.ts"
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
      services.start("invocation", { "invocation.heartbeatMs": "500" }),
      services.start("control", { "control.unreachableAfterMs": "1500" }),
      services.start("agent", { "agent.cluster": "east", "agent.attributes": "nvlink,rdma", ...often }),
      services.start("agent", { "agent.cluster": "west", "agent.group": "edge", ...often })
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

  it("a function runs where what it demands is, and where that is nowhere its calls wait and are told why", async () => {
    const deploy = (name: string, deployment: Readonly<Record<string, unknown>>) =>
      // Long enough that what answered is still there when it is asked where it runs.
      services.cli(control, "deploy", services.functionFolder(name, { idleWindowMs: 5_000, ...deployment }))
    await Promise.all([
      deploy("linked", { attributes: ["rdma", "nvlink"] }),
      deploy("near", { groups: ["edge", "airport"] }),
      deploy("impossible", { regions: ["local"], compliance: ["iso-27001"] })
    ])
    const clusterOf = async (name: string) => {
      const url = `${invocation.facts["gateway"]}/f/${name}/inspect`
      const seen = await eventually(`${name} answers`, async () => {
        const response = await fetch(url)
        return response.status === 200 ? response.text() : undefined
      })
      const { pid } = JSON.parse(seen)
      const all = await Services.instances(services, control)
      return all.find((instance) => instance.pid === pid)?.cluster
    }
    assert.strictEqual(await clusterOf("linked"), "east")
    assert.strictEqual(await clusterOf("near"), "west")
    const headers = { prefer: "respond-async" }
    const waiting = await fetch(`${invocation.facts["gateway"]}/f/impossible/inspect`, { headers })
    assert.strictEqual(waiting.status, 202)
    const id = JSON.parse(await waiting.text()).requestId
    const why = await eventually("it is told why", async () => {
      const text = await services.cli(control, "explain", id)
      return text.includes("iso-27001") ? text : undefined
    })
    assert.include(why, "impossible")
    await eventually("they have gone back to zero", async () => (await clusters()).length === 0 || undefined)
  }, 60_000)

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

  it("what runs in a cluster that was only cut off is replaced elsewhere, and ended when the cluster is back", async () => {
    await services.cli(control, "clusters", "drain", "west")
    await only("east")
    await services.cli(control, "clusters", "uncordon", "west")
    const [orphan] = await Services.instances(services, control).then((all) =>
      all.filter(({ state }) => state === "ready")
    )
    const pid = orphan?.pid ?? 0
    assert.isAbove(pid, 0)
    // Both are still there and nobody hears of them, as behind a cable that was pulled.
    const signal = (name: NodeJS.Signals) => {
      east.child.kill(name)
      process.kill(pid, name)
    }
    signal("SIGSTOP")
    try {
      const other = await eventually("it answers from elsewhere", async () => {
        const { status, text } = await call("/inspect")
        return status === 200 ? Number(JSON.parse(text).pid) : undefined
      })
      assert.notStrictEqual(other, pid)
      assert.isTrue(MillraceProcess.isAlive(pid), "the one that was cut off goes on")
    } finally {
      signal("SIGCONT")
    }
    await eventually("the one that was replaced is ended", () => !MillraceProcess.isAlive(pid) || undefined)
    await only("west")
    assert.isNull(east.child.exitCode, "its agent goes on")
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
