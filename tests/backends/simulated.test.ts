/**
 * The simulated backend: the laws of every backend, its faults as an agent sees them, and its size.
 *
 * @module
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { InstanceObservation, InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import * as SimulatedBackend from "../../src/backends/simulated/SimulatedBackend.ts"
import * as StartModel from "../../src/core/simulation/StartModel.ts"
import { runLaws } from "./runLaws.ts"
import { harness, specOf } from "./simulatedHarness.ts"
import { waitFor } from "./waitFor.ts"

runLaws(harness)

const gpuSpec = (instanceId: string, count = 1, change: Partial<InstanceSpec> = {}): InstanceSpec =>
  specOf(
    instanceId,
    { kind: "sleeps" },
    {
      gpu: { kind: "H100", count },
      instanceType: `H100.${count}x`,
      command: ["modelled"],
      ...change
    }
  )

const withCluster = (
  body: (
    simulated: SimulatedBackend.Simulated,
    seen: ReadonlyArray<InstanceObservation>
  ) => Effect.Effect<void, unknown>,
  options: SimulatedBackend.Options = {}
) =>
  Effect.gen(function* () {
    const simulated = yield* SimulatedBackend.make({
      gpus: [{ gpuKind: "H100", gpusPerNode: 8, nodes: 2 }],
      start: StartModel.fixed(1),
      gpuStart: StartModel.fixed(1),
      ...options
    })
    const seen: Array<InstanceObservation> = []
    yield* simulated.backend.watch((observation) => seen.push(observation))
    yield* body(simulated, seen)
  }).pipe(Effect.scoped)

type Exited = Extract<InstanceObservation, { readonly _tag: "Exited" }>

const exitOf = (seen: ReadonlyArray<InstanceObservation>, instanceId: string) =>
  waitFor(
    `the end of ${instanceId}`,
    () => seen.find((one): one is Exited => one._tag === "Exited" && one.instanceId === instanceId),
    () => seen
  )

const started = (seen: ReadonlyArray<InstanceObservation>, instanceId: string) =>
  waitFor(
    `the start of ${instanceId}`,
    () => seen.find((one) => one._tag === "Started" && one.instanceId === instanceId),
    () => seen
  )

describe("a simulated cluster", () => {
  it.live("packs whole GPUs onto nodes, and offers what is left by instance type", () =>
    withCluster(({ backend, nodeOf }) =>
      Effect.gen(function* () {
        const free = Effect.map(backend.capacity, ({ instanceTypes }) =>
          Object.fromEntries(instanceTypes.map((type) => [type.name, type.free]))
        )
        yield* backend.launch(gpuSpec("small", 1))
        yield* backend.launch(gpuSpec("large", 4))
        assert.strictEqual(nodeOf("small"), nodeOf("large"))
        assert.deepStrictEqual(yield* free, { "H100.1x": 11, "H100.2x": 5, "H100.4x": 2, "H100.8x": 1, local: 16 })
        yield* backend.launch(gpuSpec("whole", 8))
        assert.notStrictEqual(nodeOf("whole"), nodeOf("large"))
        const refused = yield* Effect.flip(backend.launch(gpuSpec("more", 4)))
        assert.strictEqual(refused._tag, "NoCapacity")
        const tooSmall = yield* Effect.flip(backend.launch(gpuSpec("odd", 2, { instanceType: "H100.1x" })))
        assert.strictEqual(tooSmall._tag, "BadSpec")
      })
    )
  )

  it.live("goes through the phases of its start model, in order", () =>
    withCluster(
      ({ backend }, seen) =>
        Effect.gen(function* () {
          yield* backend.launch(gpuSpec("a"))
          yield* started(seen, "a")
          assert.deepStrictEqual(
            seen.map((one) => (one._tag === "Phase" ? one.phase : one._tag)),
            ["image", "weights", "process", "Started"]
          )
        }),
      {
        gpuStart: {
          ...StartModel.fixed(1),
          phases: (["image", "weights", "process"] as const).map((name) => ({
            name,
            duration: { kind: "constant", ms: 1 }
          }))
        }
      }
    )
  )

  it.live("each fault is told as what it is", () =>
    withCluster(({ backend, inject, nodeOf, health }, seen) =>
      Effect.gen(function* () {
        inject({ kind: "image-pull", count: 1 })
        yield* backend.launch(gpuSpec("image", 1, { image: "registry.example/model:1" }))
        const image = yield* exitOf(seen, "image")
        assert.isTrue(image.exit.kind === "start-failed" && image.exit.error._tag === "ImageNotFound")

        inject({ kind: "out-of-memory", count: 1 })
        yield* backend.launch(gpuSpec("memory"))
        const memory = yield* exitOf(seen, "memory")
        assert.deepStrictEqual([memory.exit.kind, memory.phase], ["out-of-memory", "running"])

        yield* backend.launch(gpuSpec("xid"))
        yield* started(seen, "xid")
        inject({ kind: "xid", instanceId: "xid", xid: 79 })
        const xid = yield* exitOf(seen, "xid")
        assert.isTrue(xid.exit.kind === "gpu-fault" && xid.exit.xid === 79)
        assert.deepStrictEqual(health(), { nodesDown: 0, gpusBroken: 1 })

        for (const [kind, told] of [
          ["spot-loss", "preempted"],
          ["node-loss", "lost"]
        ] as const) {
          yield* backend.launch(gpuSpec(kind))
          yield* started(seen, kind)
          const node = Number(nodeOf(kind)?.split("-")[1])
          inject({ kind, group: 0, node })
          assert.strictEqual((yield* exitOf(seen, kind)).exit.kind, told)
        }
        assert.strictEqual(health().nodesDown, 2)
        assert.strictEqual((yield* Effect.flip(backend.launch(gpuSpec("none"))))._tag, "NoCapacity")
        inject({ kind: "node-repaired", group: 0, node: 0 })
        inject({ kind: "node-repaired", group: 0, node: 1 })
        assert.deepStrictEqual(health(), { nodesDown: 0, gpusBroken: 0 })
        yield* backend.launch(gpuSpec("again", 8))
      })
    )
  )

  it.live("a script breaks things at its time", () =>
    withCluster(
      ({ health }) =>
        Effect.asVoid(
          waitFor(
            "both nodes to be down",
            () => health().nodesDown === 2,
            () => health()
          )
        ),
      {
        script: [0, 1].map((node) => ({ afterMs: 10 + node, fault: { kind: "spot-loss", group: 0, node } as const }))
      }
    )
  )

  it.live("a slow start runs into its deadline", () =>
    withCluster(({ backend, inject }, seen) =>
      Effect.gen(function* () {
        inject({ kind: "slow-start", factor: 1_000_000 })
        yield* backend.launch(gpuSpec("a", 1, { startDeadlineMs: 100 }))
        const { exit } = yield* exitOf(seen, "a")
        assert.isTrue(exit.kind === "start-failed" && exit.error._tag === "StartDeadlineExceeded")
      })
    )
  )

  it.live("holds ten thousand modelled instances, counts them, and ends them", () =>
    withCluster(
      ({ backend }, seen) =>
        Effect.gen(function* () {
          const count = 10_000
          const ids = Array.from({ length: count }, (_, index) => `i${index}`)
          yield* Effect.forEach(ids, (id) => backend.launch(gpuSpec(id)), { discard: true })
          yield* waitFor("all to run", () => seen.filter(({ _tag }) => _tag === "Started").length === count)
          assert.strictEqual((yield* backend.list).length, count)
          const { instanceTypes } = yield* backend.capacity
          assert.strictEqual(instanceTypes.find(({ name }) => name === "H100.1x")?.free, 0)
          assert.strictEqual((yield* Effect.flip(backend.launch(gpuSpec("more"))))._tag, "NoCapacity")
          yield* Effect.forEach(ids, (id) => backend.terminate(id, 1_000), { discard: true })
          assert.strictEqual((yield* backend.list).length, 0)
          assert.strictEqual(seen.filter(({ _tag }) => _tag === "Exited").length, count)
        }),
      { gpus: [{ gpuKind: "H100", gpusPerNode: 8, nodes: 1_250 }] }
    )
  )
})
