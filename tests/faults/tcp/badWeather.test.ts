/**
 * A network that is slow, breaks, swallows and resets, between callers and the gateway and between workers and the
 * gateway: nothing promised is lost, nothing is doubled, and each caller has one answer or a clear failure.
 */
import { describe, expect, it } from "vitest"
import * as BadWeather from "./BadWeather.ts"

const seed = Number(process.env["MILLRACE_SEED"] ?? Date.now() % 1_000_000)

describe(`a network with faults (seed ${seed})`, () => {
  it.each([
    ["callers", "ws"],
    ["workers", "ws"],
    ["workers", "grpc"]
  ] as const)(
    "between %s and the gateway (%s) loses nothing and doubles nothing",
    async (where, transport) => {
      const report = await BadWeather.run({ where, transport, requests: 50, seed })
      expect(report.explained).toEqual([])
      expect(report.counts.claimable).toBe(report.counts.accepted)
      expect(report.counts.accepted).toBeGreaterThan(10)
      expect(report.faults).toBeGreaterThanOrEqual(15)
    },
    180_000
  )
})
