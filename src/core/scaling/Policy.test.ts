import { assert, describe, it } from "vitest"
import { seconds } from "./Policy.ts"

describe("figures for people", () => {
  it("seconds have two places below one, one below a minute, and none from there", () => {
    assert.deepStrictEqual([-1, 0, 350, 999, 1_000, 59_900, 60_000, 90_400].map(seconds), [
      "0.00 s",
      "0.00 s",
      "0.35 s",
      "1.00 s",
      "1.0 s",
      "59.9 s",
      "60 s",
      "90 s"
    ])
  })
})
