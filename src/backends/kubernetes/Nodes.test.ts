import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { capacityOf, type Held, kindOf, quantity } from "./Nodes.ts"
import type { NodeView } from "./PodView.ts"

const node = (name: string, gpus: number, change: Partial<NodeView> = {}): NodeView => ({
  name,
  uid: name,
  resourceVersion: "1",
  labels: { "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3" },
  allocatable: { "nvidia.com/gpu": String(gpus), cpu: "64", memory: "512Gi", pods: "110" },
  isUsable: true,
  ...change
})

const held = (gpuCount: number, at?: string): Held => ({ kind: "H100", gpuCount, node: at })

const freeOf = (nodes: ReadonlyArray<NodeView>, all: ReadonlyArray<Held>) =>
  Object.fromEntries(
    capacityOf({ nodes, held: all, gpuResource: "nvidia.com/gpu" }).instanceTypes.map((type) => [
      type.name,
      [type.free, type.total]
    ])
  )

describe("what a cluster has room for", () => {
  it("N3: products are named as NVCF names them", () => {
    const names = {
      "NVIDIA-H100-80GB-HBM3": "H100",
      "NVIDIA-A100-SXM4-40GB": "A100",
      "NVIDIA-L40S": "L40S",
      "NVIDIA-GeForce-RTX-4090": "RTX4090",
      "NVIDIA-GeForce-RTX-3080-Ti": "RTX3080TI",
      "NVIDIA-RTX-PRO-6000-Blackwell": "RTXPRO6000",
      "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb": "A100-MIG-1g-5gb",
      "Tesla-T4": "T4"
    }
    expect(Object.fromEntries(Object.keys(names).map((product) => [product, kindOf(product)]))).toEqual(names)
  })

  it("N2: an instance takes its GPUs from one node, so what is left elsewhere does not add up", () => {
    const nodes = [node("a", 8), node("b", 8)]
    expect(freeOf(nodes, [])).toEqual({
      "GPU.H100_1x": [16, 16],
      "GPU.H100_2x": [8, 8],
      "GPU.H100_4x": [4, 4],
      "GPU.H100_8x": [2, 2]
    })
    expect(freeOf(nodes, [held(1, "a"), held(1, "b")])["GPU.H100_8x"]).toEqual([0, 2])
    expect(freeOf(nodes, [held(1, "a"), held(1)])["GPU.H100_8x"]).toEqual([1, 2])
  })

  it("a node that is cordoned or not ready has no room, and what it holds takes nothing from the others", () => {
    expect(freeOf([node("a", 8), node("b", 8, { isUsable: false })], [held(8, "b")])["GPU.H100_8x"]).toEqual([1, 1])
  })

  it("nodes without a GPU have places of one core and one GiB", () => {
    const plain = node("a", 0, { labels: {}, allocatable: { cpu: "3500m", memory: "16Gi", pods: "110" } })
    expect(freeOf([plain], [{ kind: "none", gpuCount: 0, node: "a" }])).toEqual({ CPU: [2, 3] })
  })

  it("quantities are read in all units of Kubernetes, and nonsense is nothing", () => {
    expect(["500m", "4", "1Ki", "2G", "1e3", "abc", undefined].map(quantity)).toEqual([0.5, 4, 1024, 2e9, 1000, 0, 0])
  })

  it("N1: whatever is held, free is between nothing and total", () => {
    const anyHeld = fc.record({
      kind: fc.constantFrom("H100", "none", "L4"),
      gpuCount: fc.nat(9),
      node: fc.constantFrom("a", "b", "gone", undefined)
    })
    fc.assert(
      fc.property(fc.array(fc.nat(9), { maxLength: 4 }), fc.array(anyHeld, { maxLength: 30 }), (sizes, all) => {
        const nodes = sizes.map((gpus, index) => node("abcd"[index] ?? "", gpus))
        const { instanceTypes } = capacityOf({ nodes, held: all, gpuResource: "nvidia.com/gpu" })
        expect(instanceTypes.every(({ free, total }) => free >= 0 && free <= total)).toBe(true)
      })
    )
  })
})
