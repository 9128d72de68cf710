/**
 * The Docker backend beside a daemon that hangs, fails, dies and comes back, and beside names that others took.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import type { ComputeBackend, InstanceObservation, InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import { labelKeys, nameOf } from "../../src/backends/docker/ContainerOptions.ts"
import * as DockerBackend from "../../src/backends/docker/DockerBackend.ts"
import { eventually } from "../support/TestPlatform.ts"
import * as Daemon from "./Daemon.ts"
import { newCluster, nodeSpec, openWorld, quiet, type World } from "./dockerHarness.ts"

const why = Daemon.whyNot()
const stays = `process.on("SIGTERM", () => process.exit(0)); console.log("up"); setInterval(() => {}, 1000)`

interface Opened {
  readonly backend: ComputeBackend["Service"]
  readonly seen: ReadonlyArray<InstanceObservation>
  readonly close: () => Promise<void>
}

describe.skipIf(why !== undefined)(
  `docker faults${why === undefined ? "" : ` [skipped: ${why}]`}`,
  () => {
    let world: World
    const opened: Array<Opened> = []

    beforeAll(async () => {
      world = await openWorld()
    }, 120_000)
    afterEach(async () => {
      world.proxy.behave("pass")
      for (const one of opened.splice(0)) await one.close()
      await world.clear()
    }, 60_000)
    afterAll(() => world?.close(), 60_000)

    const open = async (options: DockerBackend.Options = {}): Promise<Opened> => {
      const scope = Effect.runSync(Scope.make())
      const seen: Array<InstanceObservation> = []
      const socketPath = world.proxy.socketPath
      const backend = await Effect.runPromise(
        Effect.tap(DockerBackend.make({ cluster: newCluster(), socketPath, callMs: 2_000, ...options }), (made) =>
          made.watch((observation) => seen.push(observation))
        ).pipe(Scope.provide(scope), Effect.provide(quiet))
      )
      const one = { backend, seen, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
      opened.push(one)
      return one
    }
    const spec = (instanceId: string, change: Partial<InstanceSpec> = {}) => nodeSpec(world, instanceId, stays, change)
    const flip = <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromise(Effect.flip(effect))
    const listed = async ({ backend }: Opened) =>
      (await Effect.runPromise(backend.list)).map(({ instanceId }) => instanceId).toSorted()
    /** Of the launch, or, where only the container's first process can know, of its end. */
    const failureOf = async (one: Opened, wrong: InstanceSpec) => {
      const from = one.seen.length
      const launched = await Effect.runPromise(Effect.result(one.backend.launch(wrong)))
      if (launched._tag === "Failure") return launched.failure
      const end = await eventually("its end", () =>
        one.seen.slice(from).find((seen) => seen._tag === "Exited" && seen.exit.kind === "start-failed")
      )
      if (end._tag !== "Exited" || end.exit.kind !== "start-failed") throw new Error("it started")
      return end.exit.error
    }
    const containers = (cluster: string) => Effect.runPromise(world.client.list([`${labelKeys.cluster}=${cluster}`]))

    for (const how of ["hang", "fail"] as const) {
      const says = how === "hang" ? "hangs" : "answers 500"
      it(`a daemon that ${says} is told within the deadline by every call, and is used again when it is well`, async () => {
        const cluster = newCluster()
        const one = await open({ cluster })
        await Effect.runPromise(one.backend.launch(spec("before")))
        world.proxy.behave(how)
        const fromMs = performance.now()
        const failures = await Promise.all([
          flip(one.backend.launch(spec("during"))),
          flip(one.backend.terminate("before", 0)),
          flip(one.backend.list)
        ])
        expect(failures.map(({ _tag }) => _tag)).toEqual(Array(3).fill("BackendUnavailable"))
        expect(performance.now() - fromMs).toBeLessThan(15_000)
        world.proxy.behave("pass")
        expect(await listed(one)).not.toContain("during")
        await Effect.runPromise(one.backend.terminate("before", 0))
        await Effect.runPromise(one.backend.launch(spec("after")))
        expect(await listed(one)).toEqual(["after"])
        await eventually(
          "no other container is left",
          async () => (await containers(cluster)).length === 1 || undefined
        )
      })
    }

    it("a frozen daemon is told, and what ended meanwhile is told when it moves again", async () => {
      const one = await open()
      await Effect.runPromise(one.backend.launch(nodeSpec(world, "short", `setTimeout(() => process.exit(9), 1500)`)))
      world.daemon.freeze()
      try {
        expect((await flip(one.backend.list))._tag).toBe("BackendUnavailable")
      } finally {
        world.daemon.thaw()
      }
      const end = await eventually("its end", () => one.seen.find(({ _tag }) => _tag === "Exited"))
      expect(end).toMatchObject({ instanceId: "short", exit: { kind: "code", code: 9 }, requested: false })
    })

    it("a daemon that crashes and comes back finds its containers running, and so does the backend", async () => {
      const one = await open()
      await Effect.runPromise(one.backend.launch(spec("a")))
      const [before] = await Effect.runPromise(one.backend.list)
      await world.daemon.crash()
      expect((await flip(one.backend.list))._tag).toBe("BackendUnavailable")
      expect((await flip(one.backend.launch(spec("b"))))._tag).toBe("BackendUnavailable")
      await world.daemon.restart()
      expect(await Effect.runPromise(one.backend.list)).toEqual([before])
      await eventually("the watch says that it was away", () => one.seen.find(({ _tag }) => _tag === "Gap"))
      await Effect.runPromise(one.backend.terminate("a", 5_000))
      const end = await eventually("its end", () => one.seen.find(({ _tag }) => _tag === "Exited"))
      expect(end).toMatchObject({ instanceId: "a", exit: { kind: "code", code: 0 }, requested: true })
    }, 90_000)

    it("a backend that begins before its daemon finds what runs when the daemon is there", async () => {
      const cluster = newCluster()
      const first = await open({ cluster })
      await Effect.runPromise(first.backend.launch(spec("a")))
      await first.close()
      world.proxy.behave("fail")
      const one = await open({ cluster })
      expect((await flip(one.backend.list))._tag).toBe("BackendUnavailable")
      world.proxy.behave("pass")
      expect(await listed(one)).toEqual(["a"])
    })

    it("a container of somebody else under our name is left alone and named; one of ours that is dead makes room", async () => {
      const cluster = newCluster()
      const one = await open({ cluster })
      const name = nameOf(cluster, "a")
      const foreign = { name, Image: world.image, Cmd: ["node", "-e", stays] }
      const id = await Effect.runPromise(Effect.tap(world.client.create(foreign), world.client.start))
      const refused = await flip(one.backend.launch(spec("a")))
      expect([refused._tag, refused.message.includes(name)]).toEqual(["BadSpec", true])
      expect((await Effect.runPromise(world.client.inspect(id))).State.Running).toBe(true)
      await Effect.runPromise(one.backend.terminate("a", 0))
      expect((await Effect.runPromise(world.client.inspect(id))).State.Running).toBe(true)
      await Effect.runPromise(world.client.remove(id))

      const Labels = { [labelKeys.cluster]: cluster, [labelKeys.instance]: "a" }
      await Effect.runPromise(world.client.create({ ...foreign, Labels }))
      await Effect.runPromise(one.backend.launch(spec("a")))
      expect(await listed(one)).toEqual(["a"])
      expect((await containers(cluster)).length).toBe(1)
    })

    it("each failure to start has its error, says what to do, and leaves nothing", async () => {
      const cluster = newCluster()
      const one = await open({ cluster, gpus: { kind: "H100", count: 2 } })
      const cases: ReadonlyArray<readonly [Partial<InstanceSpec>, string, RegExp]> = [
        [{ image: "millrace-tests/none:1" }, "ImageNotFound", /none:1/],
        [{ command: ["/no/such/program"] }, "CommandNotFound", /no\/such\/program.*inside the image/],
        [{ command: ["/etc/passwd"] }, "CommandNotFound", /passwd/],
        [{ cpuMillis: 1_000_000 }, "BadSpec", /cpuMillis.*CPUs/],
        [{ memoryBytes: 1_000_000 }, "OutOfMemory", /1000000/],
        [{ instanceType: "GB200.8x" }, "BadSpec", /deploy with local/],
        [{ gpu: { kind: "H100", count: 1 } }, "BadSpec", /nvidia-container-toolkit/],
        [{ gpu: { kind: "H100", count: 3 } }, "BadSpec", /there are 2/],
        [{ gpu: { kind: "B200", count: 1 } }, "BadSpec", /H100 alone/]
      ]
      for (const [change, tag, advice] of cases) {
        const failed = await failureOf(one, spec("a", change))
        expect([failed._tag, failed.message], JSON.stringify(change)).toEqual([tag, expect.stringMatching(advice)])
      }
      expect(await containers(cluster)).toEqual([])
    })

    it("an instance is listed until its end is told, so that nobody takes an end for a disappearance", async () => {
      const one = await open()
      await Effect.runPromise(one.backend.launch(nodeSpec(world, "short", `setTimeout(() => process.exit(3), 300)`)))
      const untilMs = performance.now() + 30_000
      while ((await listed(one)).includes("short")) expect(performance.now()).toBeLessThan(untilMs)
      expect(one.seen.map(({ _tag }) => _tag)).toContain("Exited")
    })

    it("a container that somebody removes is told as ended, not by us, and its place is free", async () => {
      const cluster = newCluster()
      const one = await open({ cluster, instancesMax: 1 })
      await Effect.runPromise(one.backend.launch(spec("a")))
      await Effect.runPromise(world.client.remove(nameOf(cluster, "a")))
      const end = await eventually("its end", () => one.seen.find(({ _tag }) => _tag === "Exited"))
      expect(end).toMatchObject({ exit: { kind: expect.stringMatching(/^(?:lost|signal)$/) }, requested: false })
      await Effect.runPromise(one.backend.launch(spec("b")))
    })
  },
  60_000
)
