import { describe, expect, it } from "vitest"
import * as Shim from "./Vitest.ts"

const rows = [
  ["one", { a: 1 }, 2],
  ["two", [3], 4]
] as const

describe("the shim of vitest", () => {
  Shim.begin("a.test.ts")
  Shim.describe("rows", () => {
    Shim.it.each(rows)("%s is %j", (...row) => row)
    Shim.it.each([5])("%s alone", (...row) => row)
  })
  const collected = [...Shim.collected]

  it("has a test for each row, with its values in the title and as arguments", () => {
    expect(collected.map(({ name }) => name)).toEqual(['rows > one is {"a":1}', "rows > two is [3]", "rows > 5 alone"])
    expect(collected.map(({ run }) => run())).toEqual([["one", { a: 1 }, 2], ["two", [3], 4], [5]])
    expect(collected.every(({ file }) => file === "a.test.ts")).toBe(true)
  })

  it.each(rows)("%s is %j", (...row) => {
    const title = expect.getState().currentTestName?.split(" > ").at(-1)
    const same = collected.find(({ name }) => name === `rows > ${title}`)
    expect(same?.run()).toEqual(row)
  })
})
