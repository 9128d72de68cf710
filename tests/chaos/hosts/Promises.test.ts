import { assert, describe, it } from "vitest"
import { broken, promisedMs } from "./Promises.ts"

describe("the promises of npm run chaos -- nats", () => {
  it("are kept up to their limits, broken beyond, and not judged where nothing was measured", () => {
    assert.deepStrictEqual(broken(promisedMs), [])
    assert.deepStrictEqual(broken({ accepted: 99_999, takeover_p99_ms: Number.NaN, pause_p99_ms: undefined }), [])
    assert.deepStrictEqual(broken({ ...promisedMs, takeover_p99_ms: 3_001 }), [
      "takeover_p99_ms is 3001 and at most 3000 is promised"
    ])
    const all = Object.fromEntries(Object.entries(promisedMs).map(([name, limitMs]) => [name, limitMs + 1]))
    assert.lengthOf(broken(all), 3)
  })
})
