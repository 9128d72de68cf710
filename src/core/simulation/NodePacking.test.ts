import { assert, describe, it } from "vitest"
import * as NodePacking from "./NodePacking.ts"

const packing = () => NodePacking.make({ nodes: 2, gpusPerNode: 4, slotsPerNode: 3 })

describe("a packing of nodes", () => {
  it("is as it was after something was taken from a copy of it", () => {
    for (const gpuCount of [0, 2]) {
      const before = packing()
      for (const copy of [NodePacking.copy(before), NodePacking.copyToTake(before, gpuCount)]) {
        NodePacking.take(copy, NodePacking.freeNode(copy, gpuCount), gpuCount, 1)
        assert.deepStrictEqual(before, packing())
        assert.strictEqual(NodePacking.room(copy, gpuCount), NodePacking.room(before, gpuCount) - 1)
      }
    }
  })

  it("gives back what was taken, to the last figure", () => {
    for (const gpuCount of [0, 1, 4]) {
      const taken = packing()
      NodePacking.take(taken, 1, gpuCount, 1)
      NodePacking.take(taken, 1, gpuCount, -1)
      assert.deepStrictEqual(taken, packing())
    }
  })
})
