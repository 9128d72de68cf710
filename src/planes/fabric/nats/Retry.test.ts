import { assert, describe, it } from "vitest"
import * as Retry from "./Retry.ts"

const never = () => new Promise<string>(() => {})

/** A question whose tries do this, one after the other, and how many there were. */
const tries = (...each: ReadonlyArray<() => Promise<string>>) => {
  let count = 0
  return { question: () => (each[count++] ?? never)(), count: () => count }
}

const failureOf = (question: () => Promise<string>): Promise<unknown> =>
  Retry.beside(question).then(
    () => undefined,
    (error: unknown) => error
  )

describe("Y2: a question asked again beside itself", () => {
  it("ends with the first answer, and is asked no more", async () => {
    const atOnce = tries(async () => "first")
    assert.strictEqual(await Retry.beside(atOnce.question), "first")
    assert.strictEqual(atOnce.count(), 1)
    const silentFirst = tries(never, async () => "second")
    assert.strictEqual(await Retry.beside(silentFirst.question), "second")
    assert.strictEqual(silentFirst.count(), 2)
  })

  it("ends with the first failure, whichever try has it", async () => {
    const failure = new Error("no")
    const first = tries(() => Promise.reject(failure))
    assert.strictEqual(await failureOf(first.question), failure)
    assert.strictEqual(first.count(), 1)
    assert.strictEqual(await failureOf(tries(never, () => Promise.reject(failure)).question), failure)
  })
})
