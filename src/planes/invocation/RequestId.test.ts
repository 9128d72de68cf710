import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as RequestId from "./RequestId.ts"

describe("a request id", () => {
  it("is a UUID of version 7 that carries its time", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 48 - 1 }), (unixMs) => {
        const id = RequestId.make(unixMs)
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        expect(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toBe(unixMs)
        expect(RequestId.isUuid(id)).toBe(true)
      })
    )
  })

  it("does not repeat in 100,000", () => {
    expect(new Set(Array.from({ length: 100_000 }, () => RequestId.make(1_700_000_000_000.5))).size).toBe(100_000)
  })
})
