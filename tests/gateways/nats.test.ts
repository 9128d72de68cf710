/**
 * Three gateways as processes on one nats-server, killed and paused under load: nothing that was promised is lost, nothing
 * is doubled, and what a dead one had is served by others within seconds.
 */
import { createHash, randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as NatsFabric from "../../src/planes/fabric/NatsFabric.ts"
import type { Context } from "../../src/worker-sdk/Handler.ts"
import { type World as CallerWorld, carryOut, claimUntilEnded, makeAgent } from "../chaos/Caller.ts"
import { explain } from "../chaos/Explain.ts"
import { planOf } from "../chaos/Kills.ts"
import * as Random from "../chaos/Random.ts"
import { Recording } from "../chaos/Recording.ts"
import type { Order } from "../chaos/recorder.ts"
import { check } from "../history/Checker.ts"
import { freePort, natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { GatewayProcess } from "./GatewayProcess.ts"
import { makeWorld, type TestFunction, type World } from "./World.ts"

const seed = Number(process.env["MILLRACE_SEED"] ?? Date.now() % 1_000_000)
const shardCount = 8
const digestOf = (text: string) => createHash("sha256").update(text).digest("base64url").slice(0, 22)
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Does what its order says, and writes it down. */
const recorder =
  (recording: Recording) =>
  async (request: Request, context: Context): Promise<Response> => {
    const text = await request.text()
    // Written by the callers of the chaos harness alone.
    const { item, ms, bytes } = JSON.parse(text) as Order
    // The SDK hands its call as the context; the token is on it and not in the public type.
    const { token } = context as unknown as { readonly token: number }
    const { requestId, tenant, attempt } = context
    const run = randomUUID()
    recording.see({
      _tag: "Attempted",
      run,
      item,
      body: digestOf(text),
      requestId,
      tenant,
      attempt,
      token,
      // An owner that dies or stands still may have answered what its log never took: its successor runs that again.
      plane: `epoch ${Math.floor(token / 2 ** 32)}`
    })
    const answer = JSON.stringify({ item, requestId, tenant, token, run, padding: "x".repeat(bytes) })
    await sleep(ms)
    recording.see({ _tag: "Effected", run, digest: digestOf(answer) })
    return new Response(answer, { headers: { "content-type": "application/json" } })
  }

describe.skipIf(natsIsMissing)(`gateways as processes on NATS (seed ${seed})`, () => {
  let server: RunningNats
  let folder = ""
  const gateways: Array<GatewayProcess> = []
  let world: World
  let fn: TestFunction
  let probes: ReadonlyArray<TestFunction> = []
  let recording: Recording

  beforeAll(async () => {
    server = await startNats()
    folder = mkdtempSync(join(tmpdir(), "millrace-gateways-"))
    const fabric = {
      servers: [server.url],
      system: { servers: [server.systemUrl], credentials: { _tag: "Anonymous" as const } },
      prefix: "gateways",
      blobDirectory: join(folder, "blobs")
    }
    for (let index = 0; index < 3; index++) {
      const [gatewayPort, workerPort] = [await freePort(), await freePort()]
      gateways.push(new GatewayProcess({ fabric, shardCount, gatewayPort, workerPort, drainMs: 20_000 }))
    }
    world = await makeWorld(NatsFabric.layer({ ...fabric, blobDirectory: join(folder, "registry-blobs") }), shardCount)
    await Promise.all(gateways.map((gateway) => gateway.start()))
    fn = await world.deploy("any")
    probes = await Promise.all(Array.from({ length: 12 }, (_, index) => world.deploy(`probe-${index}`)))
    recording = new Recording(folder)
    const urls = gateways.map(({ workerUrl }) => workerUrl).join(",")
    for (let index = 0; index < 2; index++) world.work(fn, urls, 8, recorder(recording))
  }, 60_000)
  afterAll(async () => {
    await Promise.all(gateways.map((gateway) => gateway.end("SIGKILL")))
    await world?.close()
    await server?.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  const said = () => gateways.map(({ said }, index) => `gateway ${index}:\n${said.slice(-3_000)}`).join("\n")

  /** Milliseconds until requests of every shard are accepted at this gateway. */
  const servedAgainMs = async ({ url }: GatewayProcess): Promise<number> => {
    const startedMs = performance.now()
    await Promise.all(
      probes.map(async ({ name }) => {
        for (;;) {
          const answer = await fetch(`${url}/f/${name}/`, { headers: { prefer: "respond-async" } })
          await answer.arrayBuffer()
          if (answer.status === 202) return
          if (performance.now() - startedMs > 60_000)
            throw new Error(`${name} was not served: ${answer.status}\n${said()}`)
          await sleep(20)
        }
      })
    )
    return performance.now() - startedMs
  }

  it("lose and double nothing when owners are killed, paused and told to leave in the middle of load", async () => {
    const random = Random.make(seed)
    const callers: CallerWorld = {
      recording,
      gatewayUrl: async () => random.pick(gateways.filter((gateway) => gateway.isAlive))!.url,
      agent: makeAgent()
    }
    const promised: Array<string> = []
    let next = 0
    let isOver = false
    const caller = async () => {
      while (!isOver) {
        const plan = planOf(random, next++)
        const order = { ...plan.order, pieces: 0 }
        const requestId = await carryOut(callers, { ...plan, path: "any", order })
        if (requestId !== undefined) promised.push(requestId)
      }
    }
    const running = Array.from({ length: 12 }, caller)
    const pausesMs: Array<number> = []
    for (const fault of ["kill", "pause", "kill", "leave"] as const) {
      const before = next
      while (next < before + 40) await sleep(10)
      const victim = random.pick(gateways)!
      const other = gateways.find((gateway) => gateway !== victim)!
      if (fault === "pause") {
        // What its log had not taken yet is lost to the others as in a death.
        recording.see({ _tag: "Crashed" })
        victim.signal("SIGSTOP")
        pausesMs.push(await servedAgainMs(other))
        victim.signal("SIGCONT")
        continue
      }
      recording.see({ _tag: "Crashed" })
      if (fault === "leave") await victim.end("SIGTERM")
      else await victim.end("SIGKILL")
      const servedMs = await servedAgainMs(other)
      if (fault === "kill") pausesMs.push(servedMs)
      await victim.start()
    }
    isOver = true
    await Promise.all(running)
    await Promise.all(promised.map((requestId) => claimUntilEnded(callers, requestId, 60_000)))
    callers.agent.destroy()
    const history = recording.history()
    const { counts, verdicts } = check(history)
    console.log(`${JSON.stringify(counts)} served again after ${pausesMs.map(Math.round).join(", ")} ms`)
    assert.deepStrictEqual(
      verdicts.slice(0, 5).flatMap((verdict) => explain(history, verdict)),
      []
    )
    assert.strictEqual(counts.claimable, counts.accepted)
    assert.isAbove(counts.accepted, 50)
  }, 240_000)
})
