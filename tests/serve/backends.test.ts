/**
 * One installation whose agent is given another backend by one line: the README's examples, deployed once, answer from each.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { afterAll, afterEach, assert, beforeAll, describe, it } from "vitest"
import { labelKeys } from "../../src/backends/docker/ContainerOptions.ts"
import * as Daemon from "../docker/Daemon.ts"
import { openWorld, type World } from "../docker/dockerHarness.ts"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import * as Examples from "../support/Examples.ts"
import { eventually } from "../support/TestPlatform.ts"
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

  beforeAll(async () => {
    nats = await startNats()
    services = Services.make(nats, "backends")
    ;[invocation, control] = await Promise.all([
      services.start("invocation", { "invocation.workerSocket": join(state, "workers", "worker.sock") }),
      services.start("control")
    ])
    for (const name of Examples.names) await services.cli(control, "deploy", join(Examples.folder, name))
    // A call of what is known waits for an agent.
    await eventually("the gateway knows the last one", async () => {
      const url = `${invocation.facts["gateway"]}/f/${Examples.names.at(-1)}/`
      const signal = AbortSignal.timeout(1_000)
      const seen = await fetch(url, { signal }).then(
        ({ status }) => status,
        () => 0
      )
      return seen !== 404 || undefined
    })
  }, 60_000)
  afterEach(async () => {
    await agent?.stop("SIGTERM")
    agent = undefined
  }, 60_000)
  afterAll(async () => {
    await services?.close()
    await nats?.remove()
    rmSync(state, { recursive: true, force: true })
  })

  const start = async (settings: Readonly<Record<string, string>>, environment?: Readonly<Record<string, string>>) => {
    agent = await services.start("agent", { state, ...settings }, environment)
    return agent
  }
  const doTheJob = (name: Examples.Name) => Examples.call(String(invocation.facts["gateway"]), name)

  it("process", async () => {
    const { facts } = await start({ "agent.backend": "process" })
    for (const name of Examples.names) await doTheJob(name)
    assert.deepStrictEqual([facts["backend"], facts["isolation"]], ["process", "none"])
  })

  it("simulated, with GPUs that are counted", async () => {
    const { facts } = await start({ "agent.backend": "simulated", "agent.gpu": "h100x8x2" })
    for (const name of Examples.names) await doTheJob(name)
    assert.strictEqual(facts["backend"], "simulated")
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

      it("docker, in containers without a network", async () => {
        const { facts } = await start(
          { "agent.backend": "docker" },
          { DOCKER_HOST: `unix://${world.daemon.socketPath}` }
        )
        assert.strictEqual(facts["isolation"], "container")
        for (const name of Examples.names) {
          await doTheJob(name)
          const containers = await Effect.runPromise(world.client.list([labelKeys.cluster]))
          assert.include(
            containers.map(({ Labels }) => Labels[labelKeys.function]),
            name
          )
        }
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
