import { assert, describe, it } from "vitest"
import * as HpaRules from "./HpaRules.ts"

const { defaults } = HpaRules
const unlimited: HpaRules.RateLimit = { percent: null, pods: null, periodMs: 15_000 }

describe("the arithmetic of the horizontal pod autoscaler", () => {
  it("counts pods that are not ready on the way up alone", () => {
    const pods = { current: 4, ready: 2, unready: 2, targetPerPod: 1 }
    assert.deepStrictEqual(HpaRules.byPods({ ...pods, usage: 1 }, 0.1), { replicas: 1, ratio: 0.5 })
    assert.deepStrictEqual(HpaRules.byPods({ ...pods, usage: 2 }, 0.1), { replicas: 4, ratio: 1 })
    assert.deepStrictEqual(HpaRules.byPods({ ...pods, usage: 6 }, 0.1), { replicas: 6, ratio: 1.5 })
    assert.isNull(HpaRules.byPods({ ...pods, ready: 0, usage: 6 }, 0.1))
  })

  it("changes nothing where pods that are not ready yet turn the direction", () => {
    const pods = { current: 6, ready: 2, unready: 4, usage: 3, targetPerPod: 1 }
    assert.deepStrictEqual(HpaRules.byPods(pods, 0.1), { replicas: 6, ratio: 0.5 })
  })

  it("begins with a recommendation of what is there, and no change", () => {
    assert.deepStrictEqual(HpaRules.begin(3, 1_000), { recommendations: [{ atMs: 1_000, value: 3 }], changes: [] })
  })

  it("remembers recommendations for as long as its windows, and changes for as long as its periods", () => {
    const memory: HpaRules.Memory = {
      recommendations: [0, 1, 300_000].map((atMs) => ({ atMs, value: 5 })),
      changes: [285_000, 285_001].map((atMs) => ({ atMs, value: 1 }))
    }
    const at = { current: 5, min: 1, max: 9, nowMs: 300_000 }
    const [still] = HpaRules.normalize(memory, 5, at, defaults)
    assert.deepStrictEqual(
      still.recommendations.map(({ atMs }) => atMs),
      [1, 300_000, 300_000]
    )
    assert.deepStrictEqual(still.changes, [{ atMs: 285_001, value: 1 }], "what changes nothing is no change")
    const [moved, { replicas }] = HpaRules.normalize(memory, 7, at, defaults)
    assert.strictEqual(replicas, 7)
    assert.deepStrictEqual(moved.changes.at(-1), { atMs: 300_000, value: 2 })
  })

  it("a limit that is not set limits nothing, and a part of an instance more is a whole one", () => {
    const at = { current: 3, min: 1, max: 1_000, nowMs: 0 }
    const none = { recommendations: [], changes: [] }
    const free = { ...defaults, scaleUp: unlimited, scaleDown: unlimited }
    const [, far] = HpaRules.normalize(none, 900, at, free)
    assert.deepStrictEqual(
      [far.replicas, far.limitUp, far.limitDown],
      [900, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
    )
    const half = { ...defaults, scaleUp: { ...unlimited, percent: 50 }, scaleDown: { ...unlimited, percent: 50 } }
    const [, near] = HpaRules.normalize(none, 900, at, half)
    assert.deepStrictEqual([near.replicas, near.limitUp, near.limitDown], [5, 5, 1])
  })
})
