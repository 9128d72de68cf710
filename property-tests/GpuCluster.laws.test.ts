/**
 * Laws of the simulated GPU cluster (M1 to M5), over histories in which launches, ends, faults and time meet on a few small
 * nodes.
 *
 * @module
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as IntMap from "../src/core/collections/IntMap.ts"
import * as GpuCluster from "../src/core/simulation/GpuCluster.ts"
import * as GpuKinds from "../src/core/simulation/GpuKinds.ts"
import * as StartModel from "../src/core/simulation/StartModel.ts"
import { upholds } from "./upholds.ts"

const groups: ReadonlyArray<GpuCluster.NodeGroup> = [
  { gpuKind: "H100", nodes: 2, gpusPerNode: 4, slotsPerNode: 1 },
  { gpuKind: "none", nodes: 1, gpusPerNode: 0, slotsPerNode: 2 }
]

const rates: fc.Arbitrary<GpuCluster.FaultRates> = fc.record({
  imagePullShare: fc.constantFrom(0, 0.3),
  outOfMemoryShare: fc.constantFrom(0, 0.3),
  slowStartShare: fc.constantFrom(0, 0.5),
  xidPerGpuHour: fc.constantFrom(0, 100),
  nodeLossPerNodeHour: fc.constantFrom(0, 20),
  spotLossPerNodeHour: fc.constantFrom(0, 20)
})

const id = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h")
const place = { group: fc.integer({ min: -1, max: 2 }), node: fc.integer({ min: 0, max: 2 }) }

type Act = (nowMs: number) => GpuCluster.Event
const { Event } = GpuCluster
const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ instanceId: id, gpuCount: fc.constantFrom(0, 1, 1, 2, 4) }).map(
      ({ instanceId, gpuCount }): Act =>
        (nowMs) =>
          Event.Asked({ nowMs, instanceId, gpuCount, gpuKind: gpuCount === 0 ? "none" : "H100" })
    )
  },
  {
    weight: 3,
    arbitrary: id.map(
      (instanceId): Act =>
        (nowMs) =>
          Event.ProcessEnded({ nowMs, instanceId })
    )
  },
  { weight: 6, arbitrary: fc.constant<Act>((nowMs) => Event.Ticked({ nowMs })) },
  {
    weight: 3,
    arbitrary: fc
      .oneof<
        [
          fc.Arbitrary<GpuCluster.Fault>,
          fc.Arbitrary<GpuCluster.Fault>,
          fc.Arbitrary<GpuCluster.Fault>,
          fc.Arbitrary<GpuCluster.Fault>
        ]
      >(
        fc.record({ kind: fc.constantFrom("image-pull" as const, "out-of-memory" as const), count: fc.nat(2) }),
        fc.record({ kind: fc.constant("xid" as const), instanceId: id, xid: fc.constantFrom(31, 79) }),
        fc.record({
          kind: fc.constantFrom("node-loss" as const, "spot-loss" as const, "node-repaired" as const),
          ...place
        }),
        fc.record({ kind: fc.constant("slow-start" as const), factor: fc.constantFrom(1, 5) })
      )
      .map(
        (fault): Act =>
          (nowMs) =>
            Event.Faulted({ nowMs, fault })
      )
  }
)

const history = fc.array(fc.tuple(fc.constantFrom(0, 50, 400, 60_000, 1_000_000), act), { maxLength: 60, size: "max" })

const start = (seed: number, faults: GpuCluster.FaultRates) =>
  GpuCluster.make(
    { seed, groups, start: StartModel.byName("process")!, gpuStart: StartModel.byName("lora")!, rates: faults },
    0
  )

/** States and commands along the way. */
const run = (
  state: GpuCluster.State,
  acts: ReadonlyArray<readonly [number, Act]>,
  each: (
    before: GpuCluster.State,
    event: GpuCluster.Event,
    after: GpuCluster.State,
    commands: ReadonlyArray<GpuCluster.Command>
  ) => void,
  isOwn = false
) => {
  let current = state
  let nowMs = 0
  for (const [passMs, make] of acts) {
    nowMs += passMs
    const event = make(nowMs)
    const [after, commands] = GpuCluster.step(current, event, isOwn)
    each(current, event, after, commands)
    current = after
  }
}

const inputs = [fc.nat(1_000), rates, history] as const

/** By node: GPUs and slots in use, counted from the instances. */
const assertBalanced = (state: GpuCluster.State) => {
  const used = groups.map((group) => Array.from({ length: group.nodes }, () => ({ gpus: 0, slots: 0 })))
  IntMap.forEach(state.instances.rows, ({ group, node, gpuCount }) => {
    const on = used[group]![node]!
    on.gpus += gpuCount
    on.slots += gpuCount === 0 ? 1 : 0
  })
  let number = 0
  for (const [index, group] of groups.entries()) {
    const packing = state.packings[index]!
    for (let node = 0; node < group.nodes; node++, number++) {
      const { gpus, slots } = used[index]![node]!
      const isDown = state.down.has(number)
      const broken = state.broken.get(number) ?? 0
      assert.isTrue(gpus + broken <= group.gpusPerNode && slots <= group.slotsPerNode, "handed out twice")
      assert.strictEqual(packing.gpusFree[node], isDown ? 0 : group.gpusPerNode - gpus - broken)
      assert.strictEqual(packing.slotsFree[node], isDown ? 0 : group.slotsPerNode - slots)
      if (isDown) assert.deepStrictEqual([gpus, slots], [0, 0], "something runs on a node that is down")
    }
    assert.strictEqual(
      packing.slotsFreeTotal,
      packing.slotsFree.reduce((sum, free) => sum + free, 0)
    )
    const byFree = new Int32Array(group.gpusPerNode + 1)
    for (const free of packing.gpusFree) byFree[free]! += 1
    assert.deepStrictEqual(packing.nodesByGpusFree, byFree)
  }
}

describe("GpuCluster", () => {
  it("M1, M5: nothing is handed out twice, what is left over is free, and nothing runs on a node that is down", () => {
    upholds(
      fc.property(...inputs, (seed, faults, acts) => {
        run(start(seed, faults), acts, (_before, _event, after) => assertBalanced(after))
      })
    )
  })

  it("M2: as many more are accepted as the room says, and then one is refused", () => {
    upholds(
      fc.property(...inputs, fc.constantFrom(0, 1, 2, 4), (seed, faults, acts, gpuCount) => {
        let last = start(seed, faults)
        run(last, acts, (_before, _event, after) => {
          last = after
        })
        const gpuKind = gpuCount === 0 ? "none" : "H100"
        for (let room = GpuCluster.room(last, gpuKind, gpuCount), index = 0; room >= 0; room--, index++) {
          const [next, commands] = GpuCluster.step(
            last,
            Event.Asked({ nowMs: 1e9, instanceId: `more-${index}`, gpuKind, gpuCount })
          )
          assert.strictEqual(commands[0]?._tag === "Refuse", room === 0)
          assert.strictEqual(GpuCluster.room(next, gpuKind, gpuCount), Math.max(0, room - 1))
          last = next
        }
      })
    )
  })

  it("M3: an accepted instance goes through its phases, begins once at most and ends once, and then nothing is said of it", () => {
    upholds(
      fc.property(...inputs, (seed, faults, acts) => {
        const lives = new Map<string, "starting" | "running">()
        run(start(seed, faults), acts, (_before, event, _after, commands) => {
          for (const command of commands) {
            const life = lives.get(command.instanceId)
            if (command._tag === "EnterPhase") {
              assert.notStrictEqual(life, "running")
              assert.isTrue(life === "starting" || event._tag === "Asked")
              lives.set(command.instanceId, "starting")
            }
            if (command._tag === "Began") {
              assert.strictEqual(life, "starting")
              lives.set(command.instanceId, "running")
            }
            if (command._tag === "Ended") {
              assert.isDefined(life, `${command.instanceId} ended and was not there`)
              lives.delete(command.instanceId)
            }
          }
          if (event._tag === "ProcessEnded") lives.delete(event.instanceId)
        })
      })
    )
  })

  it("M4: the same seed and the same events give the same commands, also where no state is kept", () => {
    upholds(
      fc.property(...inputs, (seed, faults, acts) => {
        const told = (isOwn: boolean) => {
          const all: Array<GpuCluster.Command> = []
          run(start(seed, faults), acts, (_before, _event, _after, commands) => all.push(...commands), isOwn)
          return all
        }
        const kept = told(false)
        assert.deepStrictEqual(told(false), kept)
        assert.deepStrictEqual(told(true), kept)
      })
    )
  })

  it("wakes for everything that is due: after the last of its wakes nothing waits for time", () => {
    upholds(
      fc.property(fc.nat(1_000), fc.array(id, { maxLength: 8 }), (seed, ids) => {
        let state = start(seed, GpuCluster.noFaults)
        for (const instanceId of ids) {
          state = GpuCluster.step(state, Event.Asked({ nowMs: 0, instanceId, gpuKind: "H100", gpuCount: 1 }))[0]
        }
        const began: Array<string> = []
        for (let at = GpuCluster.wakeAtMs(state), round = 0; at !== undefined; at = GpuCluster.wakeAtMs(state)) {
          assert.isBelow(round++, 1_000)
          const [next, commands] = GpuCluster.step(state, Event.Ticked({ nowMs: at }))
          began.push(...commands.flatMap((one) => (one._tag === "Began" ? [one.instanceId] : [])))
          state = next
        }
        assert.deepStrictEqual(began.toSorted(), [...new Set(ids)].toSorted())
      })
    )
  })
})

describe("a written cluster", () => {
  it("knows of each kind its memory, how many a node has, how many see each other, and where that is from", () => {
    const said = GpuKinds.gpuKinds.map(({ name, memoryGib, perNode, nvlinkDomain, source }) =>
      [name, memoryGib, perNode, nvlinkDomain, source].join(" | ")
    )
    const memory = "NVIDIA Multi-Instance GPU User Guide, Supported GPUs and Supported MIG Profiles"
    assert.deepStrictEqual(said, [
      `A100 | 80 | 8 | 8 | NVIDIA DGX A100 (80 GB): eight GPUs on NVSwitch; memory: ${memory}`,
      `H100 | 80 | 8 | 8 | NVIDIA DGX H100: eight GPUs on NVSwitch; memory: ${memory}`,
      `H200 | 141 | 8 | 8 | NVIDIA DGX H200: eight GPUs on NVSwitch; memory: ${memory}`,
      `B200 | 180 | 8 | 8 | NVIDIA DGX B200: eight GPUs on NVSwitch; memory: ${memory}`,
      `GB200 | 186 | 4 | 72 | NVIDIA GB200 NVL72: 18 compute trays of four GPUs in one NVLink domain; memory: ${memory}`,
      "L40S | 48 | 8 | 1 | NVIDIA L40S data sheet: 48 GB, no NVLink; servers hold up to eight",
      ...["A100-1g.10gb | 10 | 56", "A100-2g.20gb | 20 | 24", "A100-3g.40gb | 40 | 16"].map(
        (each) => `${each} | 1 | ${memory}`
      ),
      ...["H100-1g.10gb | 10 | 56", "H100-2g.20gb | 20 | 24", "H100-3g.40gb | 40 | 16"].map(
        (each) => `${each} | 1 | ${memory}`
      ),
      ...["H200-1g.18gb | 18 | 56", "H200-2g.35gb | 35 | 24", "H200-3g.71gb | 71 | 16"].map(
        (each) => `${each} | 1 | ${memory}`
      )
    ])
  })

  it("names every kind as it is sold, and any shape of it", () => {
    for (const kind of GpuKinds.gpuKinds) {
      const text = kind.name.toLowerCase()
      assert.deepStrictEqual(GpuKinds.parseCluster(text), [{ gpuKind: kind.name, gpusPerNode: kind.perNode, nodes: 1 }])
    }
    assert.deepStrictEqual(GpuKinds.parseCluster("h100x8x4"), [{ gpuKind: "H100", gpusPerNode: 8, nodes: 4 }])
    assert.deepStrictEqual(GpuKinds.parseCluster("L40Sx2, gb200x4x18"), [
      { gpuKind: "L40S", gpusPerNode: 2, nodes: 1 },
      { gpuKind: "GB200", gpusPerNode: 4, nodes: 18 }
    ])
  })

  it("that is wrong is refused with what would be right", () => {
    for (const [text, wanted] of [
      ["", /kinds: a100, h100, h200, b200, gb200, l40s, a100-1g\.10gb/],
      ["v100x8", /h100x8x4 for four nodes.*kinds: a100/],
      ["h100x0", /1 to 8 H100, and not 0/],
      ["h100x9x1", /1 to 8 H100, and not 9/],
      ["gb200x8", /1 to 4 GB200/],
      ["h100x8x0", /1 to 10000 nodes/],
      ["h100x8x10001", /1 to 10000 nodes/],
      ["h100x8x4x2", /kinds: /],
      ["h100,h100", /twice/]
    ] as const) {
      const answer = GpuKinds.parseCluster(text)
      assert.isString(answer, text)
      assert.match(String(answer), wanted)
    }
  })

  it("offers instances of a power of two and of the whole node", () => {
    const names = (text: string) => {
      const parsed = GpuKinds.parseCluster(text)
      return typeof parsed === "string" ? parsed : GpuKinds.instanceTypesOf(parsed[0]!).map((type) => type.name)
    }
    assert.deepStrictEqual(names("h100x8"), ["H100.1x", "H100.2x", "H100.4x", "H100.8x"])
    assert.deepStrictEqual(names("h100x6"), ["H100.1x", "H100.2x", "H100.4x", "H100.6x"])
    assert.deepStrictEqual(names("l40sx1"), ["L40S.1x"])
  })
})
