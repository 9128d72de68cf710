/**
 * Three planes as three processes on a real nats-server: a platform, of which each part can go away and come back.
 */
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { eventually, root } from "../support/TestPlatform.ts"
import * as Services from "./Services.ts"

describe.skipIf(natsIsMissing)("planes as services", () => {
  let nats: RunningNats | undefined
  let services: Services.Services
  let invocation: Services.Service
  let control: Services.Service
  let agent: Services.Service

  beforeAll(async () => {
    nats = await startNats()
    services = Services.make(nats, "serve")
    ;[invocation, control, agent] = await Promise.all([
      services.start("invocation"),
      services.start("control"),
      services.start("agent")
    ])
  }, 60_000)
  afterAll(async () => {
    await services?.close()
    await nats?.remove()
  })

  const call = async (name: string, path: string, init: RequestInit = {}) => {
    const response = await fetch(`${invocation.facts["gateway"]}/f/${name}${path}`, init)
    return { status: response.status, text: await response.text(), headers: response.headers }
  }
  const isReady = (service: Services.Service) =>
    eventually(`${service.plane} is ready`, async () => (await service.readyz()).status === 200 || undefined)

  it("an example deployed by the CLI runs on the agent's instance, and its output comes back through the control API", async () => {
    await Promise.all([invocation, control, agent].map(isReady))
    await services.cli(control, "deploy", join(root, "examples/hello"))
    const answer = await eventually("the gateway knows the function", async () => {
      const seen = await call("hello", "/?name=Ada")
      return seen.status === 404 ? undefined : seen
    })
    assert.deepStrictEqual([answer.status, answer.text.trim()], [200, "Hello, Ada!"])
    assert.match(answer.headers.get("server-timing") ?? "", /start;dur=/, "the receipt knows of the start")
    await services.cli(control, "deploy", services.functionFolder("probe"))
    const pid = await eventually("the probe answers", async () => {
      const seen = await call("probe", "/inspect")
      return seen.status === 200 ? Number(JSON.parse(seen.text).pid) : undefined
    })
    const known = await Services.instances(services, control)
    assert.include(
      known.map((one) => one.pid),
      pid
    )
    await call("probe", "/throw")
    const shown = await eventually("the output of the instance", async () => {
      const text = await services.cli(control, "logs", "probe")
      return text.includes("throws on purpose") ? text : undefined
    })
    assert.include(shown, "this handler throws on purpose")
  }, 60_000)

  it("without a control plane warm calls and queued calls go on and the others stay ready; back again, it knows what runs", async () => {
    const before = JSON.parse((await call("probe", "/inspect")).text)
    control.child.kill("SIGKILL")
    await control.exited
    const accepted = await call("probe", "/echo", {
      method: "POST",
      body: "queued",
      headers: { prefer: "respond-async" }
    })
    assert.strictEqual(accepted.status, 202)
    const { requestId } = JSON.parse(accepted.text)
    const result = await eventually("the queued call ran", async () => {
      const response = await fetch(`${invocation.facts["gateway"]}/v2/nvcf/pexec/status/${requestId}`)
      return response.status === 200 ? response.text() : undefined
    })
    assert.strictEqual(result, "queued")
    assert.strictEqual(JSON.parse((await call("probe", "/inspect")).text).pid, before.pid)
    for (const service of [invocation, agent]) assert.strictEqual((await service.readyz()).status, 200)

    control = await services.start("control")
    const known = await eventually("it knows the instances again", async () => {
      const all = await Services.instances(services, control)
      return all.length >= 2 && all.every(({ state }) => state === "ready") ? all : undefined
    })
    assert.include(
      known.map(({ pid }) => pid),
      before.pid
    )
    // Two looks at what the machines decide, with demand, and none is doubled.
    await Promise.all([1, 2, 3].map(() => call("probe", "/sleep?ms=300")))
    const after = await Services.instances(services, control)
    assert.deepStrictEqual(
      after.map(({ instanceId }) => instanceId).sort(),
      known.map(({ instanceId }) => instanceId).sort()
    )
    const explained = await services.cli(control, "requests", "show", requestId, "--json")
    assert.strictEqual(JSON.parse(explained).state, "responded")
  }, 60_000)

  it("while NATS stands still no plane is ready, each says why and is alive; when it goes on, so do they", async () => {
    const all = [invocation, control, agent]
    await nats!.pause()
    try {
      for (const service of all) {
        const { status, text } = await service.readyz()
        assert.strictEqual(status, 503, `${service.plane}: ${text}`)
        assert.include(
          JSON.parse(text).reasons.map(({ check }: { readonly check: string }) => check),
          "fabric"
        )
        assert.strictEqual((await fetch(`${service.health}/healthz`)).status, 200)
      }
    } finally {
      nats!.signal("SIGCONT")
    }
    await Promise.all(all.map(isReady))
    assert.strictEqual((await call("probe", "/echo", { method: "POST", body: "again" })).text, "again")
  }, 60_000)

  it("SIGTERM lets a call in flight finish, and says so before; what needs the plane that is gone is refused with 503", async () => {
    const running = call("probe", "/sleep?ms=1500")
    await eventually("it runs", async () => {
      const seen = await services.cli(control, "requests", "list", "--function", "probe", "--json")
      return JSON.parse(seen).some((one: { state: string }) => one.state === "leased") || undefined
    })
    const ended = invocation.stop("SIGTERM")
    const draining = await eventually("it is not ready any more", async () => {
      const seen = await invocation.readyz()
      return seen.status === 503 ? seen.text : undefined
    })
    assert.include(draining, "it is draining")
    assert.deepStrictEqual((await running).text, "slept 1500")
    assert.strictEqual((await ended).code, 0)
    let refusal = ""
    await services.cli(control, "requests", "list").catch((error: Error) => {
      refusal = error.message
    })
    assert.include(refusal, "the invocation plane could not be asked")
    // What the control plane knows itself is told all the same.
    assert.include(await services.cli(control, "functions"), "probe")
    // At the port that the instances know, where they connect again.
    const { port } = new URL(String(invocation.facts["worker"]))
    invocation = await services.start("invocation", { "invocation.workerPort": port })
    assert.strictEqual((await call("probe", "/inspect")).status, 200)
    for (const service of [agent, control, invocation]) assert.strictEqual((await service.stop("SIGTERM")).code, 0)
    for (const line of agent.lines) assert.isString(line.event, "every line is an event")
  }, 60_000)
})
