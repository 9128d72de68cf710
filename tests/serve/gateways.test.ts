/**
 * Two gateways as processes, with instances that are real workers: callers reach either, and one of them may die.
 */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { eventually } from "../support/TestPlatform.ts"
import * as Services from "./Services.ts"

describe.skipIf(natsIsMissing)("two gateways as services", () => {
  let nats: RunningNats | undefined
  let services: Services.Services
  let gateways: ReadonlyArray<Services.Service>
  let control: Services.Service
  // Four functions, so that each gateway has some of them in nearly every draw.
  const names = ["a", "b", "c", "d"]

  beforeAll(async () => {
    nats = await startNats()
    services = Services.make(nats, "gateways")
    const settings = { "invocation.port": "0", "invocation.workerPort": "0" }
    const started = await Promise.all([
      services.start("invocation", settings),
      services.start("invocation", settings),
      services.start("control", { "control.port": "0" }),
      services.start("agent")
    ])
    gateways = started.slice(0, 2)
    control = started[2]
  }, 60_000)
  afterAll(async () => {
    await services?.close()
    await nats?.remove()
  })

  const call = async (gateway: Services.Service, name: string) => {
    const url = `${gateway.facts["gateway"]}/f/${name}/echo`
    const response = await fetch(url, { method: "POST", body: name })
    return { status: response.status, text: await response.text() }
  }
  /** 404 until the gateway has heard of it. */
  const answered = (gateway: Services.Service, name: string) =>
    eventually(`${name} answers`, async () => ((await call(gateway, name)).status === 200 ? true : undefined), 30_000)

  it("each takes the calls of every function, and tells the result of what the other accepted", async () => {
    for (const name of names) await services.cli(control, "deploy", services.functionFolder(name))
    for (const gateway of gateways) await Promise.all(names.map((name) => answered(gateway, name)))
    const [one, other] = gateways
    assert.isDefined(one)
    assert.isDefined(other)
    const accepted = await Promise.all(
      names.map((name) =>
        fetch(`${one.facts["gateway"]}/f/${name}/echo`, {
          method: "POST",
          body: `claimed ${name}`,
          headers: { prefer: "respond-async" }
        }).then(async (response) => ({
          name,
          status: response.status,
          id: JSON.parse(await response.text()).requestId
        }))
      )
    )
    assert.deepStrictEqual(
      accepted.map(({ status }) => status),
      names.map(() => 202)
    )
    for (const { id, name } of accepted) {
      const text = await eventually(`${name} can be claimed at the other`, async () => {
        const answer = await fetch(`${other.facts["gateway"]}/v2/nvcf/pexec/status/${id}`)
        return answer.status === 200 ? answer.text() : undefined
      })
      assert.strictEqual(text, `claimed ${name}`)
    }
  }, 90_000)

  it("one that is killed leaves its shards to the other, with what it had accepted", async () => {
    const [victim, other] = gateways
    assert.isDefined(victim)
    assert.isDefined(other)
    const accepted = await Promise.all(
      names.map(async (name) => {
        const headers = { prefer: "respond-async" }
        const response = await fetch(`${victim.facts["gateway"]}/f/${name}/echo`, {
          method: "POST",
          body: name,
          headers
        })
        assert.strictEqual(response.status, 202)
        return { name, id: JSON.parse(await response.text()).requestId }
      })
    )
    await victim.stop("SIGKILL")
    for (const { id, name } of accepted) {
      const text = await eventually(
        `${name} can be claimed at the other`,
        async () => {
          const answer = await fetch(`${other.facts["gateway"]}/v2/nvcf/pexec/status/${id}`)
          return answer.status === 200 ? answer.text() : undefined
        },
        30_000
      )
      assert.strictEqual(text, name)
    }
    await Promise.all(names.map((name) => answered(other, name)))
  }, 90_000)
})
