/** The life of a cluster of GPUs, told command by command. */
import { createHash } from "node:crypto"
import { assert, describe, it } from "vitest"
import * as GpuCluster from "./GpuCluster.ts"
import * as Random from "./Random.ts"
import * as StartModel from "./StartModel.ts"

const { Event } = GpuCluster
const groups: ReadonlyArray<GpuCluster.NodeGroup> = [
  { gpuKind: "H100", nodes: 2, gpusPerNode: 4, slotsPerNode: 1 },
  { gpuKind: "none", nodes: 1, gpusPerNode: 0, slotsPerNode: 2 }
]
const rates: GpuCluster.FaultRates = {
  imagePullShare: 0.1,
  outOfMemoryShare: 0.1,
  slowStartShare: 0.3,
  xidPerGpuHour: 5,
  nodeLossPerNodeHour: 2,
  spotLossPerNodeHour: 2
}
const start = { ...StartModel.fixed(100), stopMs: 5 }

const made = (some: Partial<GpuCluster.FaultRates>) =>
  GpuCluster.make(
    { seed: 3, groups, start, gpuStart: StartModel.byName("lora")!, rates: { ...GpuCluster.noFaults, ...some } },
    0
  )

const kinds = ["image-pull", "out-of-memory", "xid", "node-loss", "spot-loss", "node-repaired", "slow-start"] as const

/** An event that the generator chooses. */
const anEvent = (random: Random.Random, nowMs: number): GpuCluster.Event => {
  const instanceId = `i${Random.index(random, 9)}`
  const what = Random.index(random, 10)
  if (what < 4) {
    const gpuCount = [0, 1, 1, 2, 4][Random.index(random, 5)]!
    return Event.Asked({ nowMs, instanceId, gpuKind: gpuCount === 0 ? "none" : "H100", gpuCount })
  }
  if (what < 5) return Event.ProcessEnded({ nowMs, instanceId })
  if (what < 9) return Event.Ticked({ nowMs })
  const kind = kinds[Random.index(random, kinds.length)]!
  const place = { group: Random.index(random, 4) - 1, node: Random.index(random, 3) }
  if (kind === "xid")
    return Event.Faulted({ nowMs, fault: { kind, instanceId, xid: [31, 79][Random.index(random, 2)]! } })
  if (kind === "slow-start") return Event.Faulted({ nowMs, fault: { kind, factor: 1 + Random.index(random, 3) } })
  if (kind === "image-pull" || kind === "out-of-memory") return Event.Faulted({ nowMs, fault: { kind, count: 1 } })
  return Event.Faulted({ nowMs, fault: { kind, ...place } })
}

const lived = (some: Partial<GpuCluster.FaultRates>, count: number) => {
  const random = Random.make(11)
  let state = made(some)
  let nowMs = 0
  const lines: Array<string> = []
  for (let index = 0; index < count; index++) {
    nowMs += [0, 40, 900, 30_000, 600_000][Random.index(random, 5)]!
    const [next, commands] = GpuCluster.step(state, anEvent(random, nowMs))
    state = next
    for (const command of commands) lines.push(`${nowMs} ${JSON.stringify(command)}`)
    lines.push(
      `${nowMs} ${GpuCluster.wakeAtMs(state)} ${GpuCluster.nodeOf(state, "i1")} ${GpuCluster.room(state, "H100", 1)} ${GpuCluster.room(state, "none", 0)}`
    )
  }
  return lines
}

const digest = (lines: ReadonlyArray<string>): string =>
  createHash("sha256").update(lines.join("\n")).digest("hex").slice(0, 16)

describe("a cluster of GPUs", () => {
  it("lives the same life on every machine, with faults of its own and without", () => {
    assert.deepStrictEqual(digest(lived(rates, 600)), "829d2fd40ced36a5")
    assert.deepStrictEqual(digest(lived({}, 300)), "7ea10b8e209d386c")
  })

  it("an event that is not there is told, and not taken for another", () => {
    const state = GpuCluster.make(
      { seed: 1, groups: [], start: StartModel.fixed(1), gpuStart: StartModel.fixed(1), rates: GpuCluster.noFaults },
      0
    )
    const strange = { _tag: "Strange" } as never
    assert.throws(() => GpuCluster.step(state, strange), 'unreachable case {"_tag":"Strange"}')
  })

  it("refuses, starts by phases, and ends what it loses, with the cause", () => {
    const said = lived(rates, 40).flatMap((line) => {
      const found = /^(\d+) \{"instanceId":"(\w+)",(.*)"_tag":"(\w+)"\}$/.exec(line)
      return found === null ? [] : `${found[1]} ${found[2]} ${found[4]} ${found[3]!.replaceAll(/["{}]|,$/g, "")}`.trim()
    })
    assert.deepStrictEqual(said, [
      "30000 i8 EnterPhase phase:process",
      "630000 i8 EnterPhase phase:weights",
      "660000 i8 Refuse",
      "660040 i5 EnterPhase phase:process",
      "690040 i8 Refuse",
      "690040 i5 EnterPhase phase:weights",
      "690980 i4 Refuse",
      "692820 i1 EnterPhase phase:process",
      "722820 i8 Began node:h100-0",
      "722820 i5 Began node:h100-1",
      "722820 i1 EnterPhase phase:weights",
      "722860 i6 EnterPhase phase:process",
      "1922860 i5 Ended cause:kind:xid,xid:79,node:h100-1",
      "1922860 i1 Began node:h100-0",
      "1922860 i6 Began node:h100-0",
      "1952860 i6 Refuse",
      "1952860 i4 EnterPhase phase:process",
      "2554660 i0 EnterPhase phase:process",
      "2584660 i5 EnterPhase phase:process",
      "2584660 i1 Ended cause:kind:out-of-memory",
      "2584660 i4 EnterPhase phase:weights",
      "2584660 i0 EnterPhase phase:weights",
      "2584660 i6 Ended cause:kind:spot-loss,node:h100-0",
      "2584660 i4 Ended cause:kind:spot-loss,node:h100-0",
      "2584660 i0 Ended cause:kind:spot-loss,node:h100-0",
      "2584660 i5 Ended cause:kind:node-loss,node:cpu-0",
      "5019160 i4 Refuse"
    ])
  })

  const asked = (state: GpuCluster.State, nowMs: number, instanceId: string, gpuCount: number) =>
    GpuCluster.step(state, Event.Asked({ nowMs, instanceId, gpuKind: gpuCount === 0 ? "none" : "H100", gpuCount }))[0]

  it("tells what is due in one moment in the order of instances, and then of nodes", () => {
    const count = 300
    const wide = GpuCluster.make(
      {
        seed: 3,
        groups: [{ gpuKind: "H100", nodes: count, gpusPerNode: 1, slotsPerNode: 0 }],
        start,
        gpuStart: start,
        rates: { ...GpuCluster.noFaults, spotLossPerNodeHour: 60 }
      },
      0
    )
    const ids = Array.from({ length: count }, (_, index) => `i${index}`)
    const full = ids.reduce((state, id) => asked(state, 0, id, 1), wide)
    // Long after the first loss of each.
    const [, commands] = GpuCluster.step(full, Event.Ticked({ nowMs: 10 * 3_600_000 }))
    assert.deepStrictEqual(
      commands.map(({ _tag, instanceId }) => `${_tag} ${instanceId}`),
      [...ids.map((id) => `Began ${id}`), ...ids.map((id) => `Ended ${id}`)]
    )
  })

  it("refuses what asks for GPUs of another kind, and loses no node that is not there", () => {
    const state = made({})
    const [, refused] = GpuCluster.step(state, Event.Asked({ nowMs: 0, instanceId: "a", gpuKind: "H200", gpuCount: 1 }))
    assert.deepStrictEqual(refused, [GpuCluster.Command.Refuse({ instanceId: "a" })])
    assert.deepStrictEqual([GpuCluster.room(state, "H200", 1), GpuCluster.room(state, "H100", 1)], [0, 8])
    for (const node of [-1, 1, 0.5]) {
      const fault = { kind: "node-loss", group: 1, node } as const
      assert.strictEqual(GpuCluster.step(state, Event.Faulted({ nowMs: 0, fault }))[0], state)
    }
  })

  it("an Xid is nothing to an instance without a GPU", () => {
    const state = asked(made({}), 0, "a", 0)
    const [after, commands] = GpuCluster.step(
      state,
      Event.Faulted({ nowMs: 1, fault: { kind: "xid", instanceId: "a", xid: 79 } })
    )
    assert.deepStrictEqual([commands, GpuCluster.nodeOf(after, "a")], [[], "h100-0"])
  })

  it("a node that is lost while it is down comes back when it would have, and breaks nothing more", () => {
    const lost = (state: GpuCluster.State, nowMs: number) =>
      GpuCluster.step(state, Event.Faulted({ nowMs, fault: { kind: "node-loss", group: 0, node: 1 } }))[0]
    const once = lost(made({}), 1_000)
    assert.strictEqual(lost(once, 300_000), once)
    const [back] = GpuCluster.step(once, Event.Ticked({ nowMs: 601_000 }))
    assert.deepStrictEqual([GpuCluster.room(once, "H100", 4), GpuCluster.room(back, "H100", 4)], [1, 2])
  })

  it("a GPU that stays broken is out of use until its node is repaired, though the node is not down", () => {
    const held = asked(made({}), 0, "a", 2)
    const broken = (xid: number) =>
      GpuCluster.step(held, Event.Faulted({ nowMs: 1, fault: { kind: "xid", instanceId: "a", xid } }))[0]
    const repaired = (state: GpuCluster.State) =>
      GpuCluster.step(state, Event.Faulted({ nowMs: 2, fault: { kind: "node-repaired", group: 0, node: 0 } }))[0]
    const rooms = [held, broken(31), broken(79), repaired(broken(79)), repaired(broken(31))]
    assert.deepStrictEqual(
      rooms.map((state) => GpuCluster.room(state, "H100", 1)),
      [6, 8, 7, 8, 8]
    )
  })

  it("without faults of its own has nothing to wait for while nothing runs", () => {
    assert.isUndefined(GpuCluster.wakeAtMs(made({})))
    assert.isDefined(GpuCluster.wakeAtMs(made({ spotLossPerNodeHour: 1 })))
  })

  it("as it was is still there after a step: asked again, it gives the same place", () => {
    const before = asked(made({}), 0, "a", 2)
    const freeOf = (state: GpuCluster.State) => state.packings.map(({ gpusFree }) => [...gpusFree])
    const after = asked(before, 0, "b", 1)
    assert.deepStrictEqual(
      [freeOf(before), freeOf(after)],
      [
        [[2, 4], [0]],
        [[1, 4], [0]]
      ]
    )
  })
})
