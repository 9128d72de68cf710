import { RequestError, TimeoutError } from "@nats-io/transport-node"
import { assert, describe, it } from "vitest"
import * as Retry from "./Retry.ts"

const never = () => new Promise<string>(() => {})

/** A question whose tries do this, one after the other, and how many there were. */
const tries = (...each: ReadonlyArray<() => Promise<string>>) => {
  let count = 0
  return { question: () => (each[count++] ?? never)(), count: () => count }
}

describe("Y2: a question asked again beside itself", () => {
  it("ends with the first answer, whichever try has it", async () => {
    const silentFirst = tries(never, async () => "second")
    assert.strictEqual(await Retry.beside(silentFirst.question), "second")
    assert.strictEqual(silentFirst.count(), 2)
    const atOnce = tries(async () => "first")
    assert.strictEqual(await Retry.beside(atOnce.question), "first")
    assert.strictEqual(atOnce.count(), 1)
  })

  it("ends with a failure that is known to be one, and asks no more", async () => {
    const refused = new RequestError("503", { cause: new TimeoutError() })
    Object.defineProperty(refused, "isNoResponders", { value: () => true })
    const nobody = tries(() => Promise.reject(refused))
    let found: unknown
    await Retry.beside(nobody.question).catch((error: unknown) => {
      found = error
    })
    assert.strictEqual(found, refused)
    assert.strictEqual(nobody.count(), 1)
  })

  it("takes a failure that says nothing for a silence", async () => {
    const silent = tries(
      () => Promise.reject(new TimeoutError()),
      async () => "second"
    )
    assert.strictEqual(await Retry.beside(silent.question), "second")
  })

  it("fails when all of its tries did", async () => {
    const failing = tries(...Array.from({ length: 4 }, () => () => Promise.reject(new TimeoutError())))
    let found: unknown
    await Retry.beside(failing.question).catch((error: unknown) => {
      found = error
    })
    assert.instanceOf(found, TimeoutError)
    assert.strictEqual(failing.count(), 4)
  })
})
