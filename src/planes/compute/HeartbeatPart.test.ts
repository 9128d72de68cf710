import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as HeartbeatPart from "./HeartbeatPart.ts"

const partsOf = (count: number) => Array.from({ length: count }, (_, index) => ({ index, count }))

describe("HeartbeatPart", () => {
  it("B1 an instance is in exactly one of the parts, and in all that is not in parts", () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 40 }), (id, count) => {
        expect(partsOf(count).filter((part) => HeartbeatPart.has(part, id)).length).toBe(1)
        expect(HeartbeatPart.has(undefined, id)).toBe(true)
      })
    )
  })

  it("B2 instances of one version and of many are spread evenly over the parts", () => {
    for (const idOf of [
      (n: number) => `0191a3c0-${n.toString(16).padStart(12, "0")}`,
      (n: number) => `${n.toString(16).padStart(8, "0")}-5bd1e995a0c1`
    ]) {
      const ids = Array.from({ length: 10_000 }, (_, n) => idOf(n * 7))
      const sizes = partsOf(HeartbeatPart.countFor(ids.length)).map(
        (part) => ids.filter((id) => HeartbeatPart.has(part, id)).length
      )
      expect(sizes.length).toBe(10)
      expect(Math.min(...sizes)).toBeGreaterThan(HeartbeatPart.instancesPerPart * 0.7)
      expect(Math.max(...sizes)).toBeLessThan(HeartbeatPart.instancesPerPart * 1.3)
    }
  })
})
