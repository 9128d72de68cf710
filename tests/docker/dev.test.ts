/**
 * `millrace dev --backend docker`: the same functions, the same calls, in containers.
 *
 * @module
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { labelKeys } from "../../src/backends/docker/ContainerOptions.ts"
import * as Examples from "../support/Examples.ts"
import * as Millrace from "../support/MillraceProcess.ts"
import { eventually, root } from "../support/TestPlatform.ts"
import * as Daemon from "./Daemon.ts"
import { openWorld, type World } from "./dockerHarness.ts"

const why = Daemon.whyNot()
const title = `millrace dev --backend docker${why === undefined ? "" : ` [skipped: ${why}]`}`

describe.skipIf(why !== undefined)(title, { timeout: 180_000 }, () => {
  let world: World
  const processes: Array<Millrace.MillraceProcess> = []
  const directories: Array<string> = []

  beforeAll(async () => {
    world = await openWorld()
  }, 120_000)
  afterEach(async () => {
    await Promise.all(processes.splice(0).map((millrace) => millrace.stop("SIGKILL")))
    await world.clear()
    for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
  }, 60_000)
  afterAll(() => world?.close(), 60_000)

  const folder = (parent: string) => {
    mkdirSync(parent, { recursive: true })
    const directory = mkdtempSync(join(parent, "mr-"))
    directories.push(directory)
    return directory
  }
  const start = async (directory: string, state: string) => {
    const environment = { DOCKER_HOST: `unix://${world.daemon.socketPath}` }
    const millrace = Millrace.start(["dev", directory, "--backend", "docker", "--state", state, "--json"], environment)
    processes.push(millrace)
    const ready = await millrace.line("ready", ({ event }) => event === "ready", 60_000)
    return { millrace, gateway: String(ready["gateway"]), ready }
  }
  const ours = () => Effect.runPromise(world.client.list([labelKeys.cluster]))

  it("does the README's job with the examples as they are, and leaves no container", async () => {
    const { millrace, gateway, ready } = await start(Examples.folder, folder(tmpdir()))
    expect(ready["isolation"]).toBe("container")
    for (const name of Examples.names) {
      await Examples.call(gateway, name)
      expect((await ours()).map(({ Labels }) => Labels[labelKeys.function])).toContain(name)
    }
    expect(await millrace.stop("SIGINT")).toEqual({ code: 0, signal: null })
    expect(await ours()).toEqual([])
  })

  it("a save is answered by the new code, and the image of the old one goes", async () => {
    const directory = folder(join(root, "tests/.tmp"))
    cpSync(join(root, "examples/hello"), directory, { recursive: true })
    const { gateway } = await start(directory, folder(tmpdir()))
    expect(await (await fetch(`${gateway}/f/hello/?name=Ada`)).text()).toBe("Hello, Ada!\n")
    const app = join(directory, "app.ts")
    writeFileSync(app, readFileSync(app, "utf8").replace("Hello, ", "Good morning, "))
    expect(await (await fetch(`${gateway}/f/hello/?name=Ada`)).text()).toBe("Good morning, Ada!\n")
    await eventually(
      "one container, of the new code",
      async () => (await ours()).filter(({ State }) => State === "running").length === 1 || undefined,
      60_000
    )
  })

  it("after kill -9 the next start answers, and at its end nothing of either is left", async () => {
    const state = folder(tmpdir())
    const first = await start(join(root, "examples/hello"), state)
    expect((await fetch(`${first.gateway}/f/hello/`)).status).toBe(200)
    await first.millrace.stop("SIGKILL")
    const left = (await ours()).map(({ Id }) => Id)
    expect(left.length).toBe(1)
    const second = await start(join(root, "examples/hello"), state)
    expect(await (await fetch(`${second.gateway}/f/hello/?name=Bob`)).text()).toBe("Hello, Bob!\n")
    expect(await second.millrace.stop("SIGINT")).toEqual({ code: 0, signal: null })
    expect(await ours()).toEqual([])
  })
})
