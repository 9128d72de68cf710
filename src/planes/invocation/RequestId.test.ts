import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as RequestId from "./RequestId.ts"

describe("a request id", () => {
  it("is a UUID of version 7 that carries its time and its shard", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 48 - 1 }), fc.nat(63), (unixMs, shard) => {
        const id = RequestId.make(unixMs, shard)
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        expect(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toBe(unixMs)
        expect(RequestId.isUuid(id)).toBe(true)
        expect(RequestId.shardOf(id, RequestId.shardsMax)).toBe(shard)
        expect(RequestId.shardOf(id.toUpperCase(), RequestId.shardsMax)).toBe(shard)
      })
    )
  })

  it("leads somewhere in every store, also one of before that or what is no id at all", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uuid(), fc.string()), fc.integer({ min: 1, max: 64 }), (id, count) => {
        const shard = RequestId.shardOf(id, count)
        expect(Number.isInteger(shard) && shard >= 0 && shard < count).toBe(true)
      })
    )
  })

  it("does not repeat in 100,000", () => {
    expect(new Set(Array.from({ length: 100_000 }, () => RequestId.make(1_700_000_000_000.5, 7))).size).toBe(100_000)
  })
})
