/**
 * One installation whose agent is given another backend by one line: the same function, deployed once, answers from each.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { afterAll, afterEach, assert, beforeAll, describe, it } from "vitest"
import { labelKeys } from "../../src/backends/docker/ContainerOptions.ts"
import * as Daemon from "../docker/Daemon.ts"
import { openWorld, type World } from "../docker/dockerHarness.ts"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { eventually, root } from "../support/TestPlatform.ts"
import * as Services from "./Services.ts"

const whyNoDocker = Daemon.whyNot()

describe.skipIf(natsIsMissing)("serve agent with any backend", { timeout: 240_000 }, () => {
  let nats: RunningNats | undefined
  let services: Services.Services
  let invocation: Services.Service
  let control: Services.Service
  let agent: Services.Service | undefined
  /** Short: a socket's path has 107 bytes at most. */
  const state = mkdtempSync(join(tmpdir(), "mr-"))
  let folder = ""

  beforeAll(async () => {
    nats = await startNats()
    services = Services.make(nats, "backends")
    ;[invocation, control] = await Promise.all([
      services.start("invocation", { "invocation.workerSocket": join(state, "workers", "worker.sock") }),
      services.start("control")
    ])
    await services.cli(control, "deploy", greeting())
  }, 60_000)
  afterEach(async () => {
    await agent?.stop("SIGTERM")
    agent = undefined
  }, 60_000)
  afterAll(async () => {
    await services?.close()
    await nats?.remove()
    for (const directory of [state, folder]) rmSync(directory, { recursive: true, force: true })
  })

  /** In this repository, where its `millrace/worker` is. */
  const greeting = () => {
    mkdirSync(join(root, "tests/.tmp"), { recursive: true })
    folder = mkdtempSync(join(root, "tests/.tmp/mr-"))
    const file = { name: "greeting", entry: "./server.mjs", deployment: { maxAttempts: 1, startDeadlineMs: 60_000 } }
    writeFileSync(join(folder, "millrace.json"), JSON.stringify(file))
    writeFileSync(
      join(folder, "server.mjs"),
      `import { serve } from "millrace/worker"
       serve({ fetch: (request) => new Response("Hello, " + new URL(request.url).searchParams.get("name") + "!") })`
    )
    return folder
  }

  const answerOf = async (
    settings: Readonly<Record<string, string>>,
    environment?: Readonly<Record<string, string>>
  ) => {
    agent = await services.start("agent", { state, ...settings }, environment)
    return eventually(
      "the function answers",
      async () => {
        // A call waits for its start: one that never comes must not keep the reason from being seen.
        const signal = AbortSignal.timeout(60_000)
        const response = await fetch(`${invocation.facts["gateway"]}/f/greeting/?name=Ada`, { signal })
        const body = await response.text()
        return response.status === 200 ? body.trim() : undefined
      },
      60_000
    )
  }

  it("process", async () => {
    assert.strictEqual(await answerOf({ "agent.backend": "process" }), "Hello, Ada!")
    assert.deepStrictEqual([agent?.facts["backend"], agent?.facts["isolation"]], ["process", "none"])
  })

  it("simulated, with GPUs that are counted", async () => {
    assert.strictEqual(await answerOf({ "agent.backend": "simulated", "agent.gpu": "h100x8x2" }), "Hello, Ada!")
    assert.strictEqual(agent?.facts["backend"], "simulated")
    const clusters = JSON.parse(await services.cli(control, "clusters", "list", "--json"))
    const [local] = clusters.clusters ?? clusters
    const types: ReadonlyArray<{ readonly name: string; readonly total: number }> = local.instanceTypes
    assert.deepStrictEqual(
      types.filter(({ name }) => name.startsWith("H100")).map(({ total }) => total),
      [16, 8, 4, 2]
    )
  })

  describe.skipIf(whyNoDocker !== undefined)(
    `with a Docker daemon${whyNoDocker === undefined ? "" : ` [skipped: ${whyNoDocker}]`}`,
    () => {
      let world: World
      beforeAll(async () => {
        world = await openWorld()
      }, 120_000)
      afterAll(async () => {
        await world?.clear()
        await world?.close()
      }, 60_000)

      it("docker, in a container without a network", async () => {
        const environment = { DOCKER_HOST: `unix://${world.daemon.socketPath}` }
        assert.strictEqual(await answerOf({ "agent.backend": "docker" }, environment), "Hello, Ada!")
        assert.strictEqual(agent?.facts["isolation"], "container")
        const [container] = await Effect.runPromise(world.client.list([labelKeys.cluster]))
        assert.strictEqual(container?.Labels[labelKeys.function], "greeting")
      })
    }
  )

  it("a setting that cannot be stops it before it begins, with the name of the setting", async () => {
    const refused = await services.refused("agent", { state, "agent.image": "node:24" })
    assert.include(refused, "agent.image: it belongs to the backend kubernetes, and agent.backend is process")
  })

  it("a kubeconfig that is not there is told by the name of its setting", async () => {
    const settings = { state, "agent.backend": "kubernetes", "agent.kubeconfig": join(state, "nowhere") }
    assert.include(await services.refused("agent", settings), "agent.kubeconfig: ")
  })
})
