import { assert, describe, it } from "vitest"
import * as GpuKinds from "./GpuKinds.ts"

describe("a cluster in words", () => {
  it("is nodes of GPUs, one node as it is sold where nothing is said", () => {
    assert.deepStrictEqual(GpuKinds.parseCluster("h100x8x4, l40sx2"), [
      { gpuKind: "H100", gpusPerNode: 8, nodes: 4 },
      { gpuKind: "L40S", gpusPerNode: 2, nodes: 1 }
    ])
    assert.deepStrictEqual(GpuKinds.parseCluster("h100x8x10000"), [{ gpuKind: "H100", gpusPerNode: 8, nodes: 10_000 }])
    const whole = GpuKinds.byName("h200")!
    assert.deepStrictEqual(GpuKinds.parseCluster("h200"), [{ gpuKind: "H200", gpusPerNode: whole.perNode, nodes: 1 }])
  })

  const refused = (text: string) => {
    const answer = GpuKinds.parseCluster(text)
    return typeof answer === "string" ? answer : assert.fail(`${text} was taken`)
  }

  it("is refused with what is wrong with it", () => {
    assert.include(refused("h100x9"), "a node has 1 to 8 H100, and not 9")
    assert.include(refused("h100x0"), "and not 0")
    assert.include(refused("h100x8x0"), "1 to 10000 nodes of a kind, and not 0")
    assert.include(refused("h100x8x10001"), "and not 10001")
    assert.include(refused("h100x16"), "a node has 1 to 8 H100, and not 16")
    assert.include(refused("a\nh100x8"), "names no kind of GPU that is known")
    assert.include(refused("h100,H100x4"), "H100 is there twice")
    assert.include(refused("tpux8"), '"tpux8" names no kind of GPU that is known')
    assert.include(refused("h1\n00"), "names no kind of GPU that is known")
  })

  it("has no more kinds of nodes than its bound", () => {
    assert.include(refused(Array(16).fill("h100").join(",")), "is there twice")
    assert.include(refused(Array(17).fill("h100").join(",")), "at most 16 kinds of nodes, and these are 17")
  })
})
