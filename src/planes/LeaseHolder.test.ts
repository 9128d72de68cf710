import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import * as FakeKeyValue from "../../tests/control/FakeKeyValue.ts"
import type { KeyValue } from "./fabric/KeyValue.ts"
import * as LeaseHolder from "./LeaseHolder.ts"

const key = "shards/shard-0/owner"
const times = { ttlMs: 2_000, renewMs: 5, marginMs: 250 }

/** A wire that keeps what is written until it is let through, in order. */
const makeWire = (keyValue: KeyValue["Service"]) => {
  let isOpen = true
  const held: Array<() => void> = []
  const service: KeyValue["Service"] = {
    ...keyValue,
    put: (...args) =>
      Effect.andThen(
        Effect.callback<void>((resume) => {
          const send = () => resume(Effect.void)
          if (isOpen) send()
          else held.push(send)
        }),
        keyValue.put(...args)
      )
  }
  const close = () => {
    isOpen = false
  }
  const open = () => {
    isOpen = true
    for (const send of held.splice(0)) send()
  }
  return { service, held, open, close }
}

const until = async (isTrue: () => boolean) => {
  for (let tries = 0; !isTrue(); tries++) {
    if (tries > 2_000) throw new Error("it did not happen")
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

const holder = (me: string, keyValue: KeyValue["Service"], gained: (epoch: number) => void) =>
  new LeaseHolder.LeaseHolder({
    key,
    keyValue,
    options: { me, ...times },
    storeIsExclusive: false,
    gained,
    lost: () => undefined,
    failed: (error) => assert.fail(String(error))
  })

describe("a lease that is given back", () => {
  const there = (fake: FakeKeyValue.FakeKeyValue) => LeaseHolder.seenOf(fake.entries().find((one) => one.key === key))

  /** One that holds it, and whose writes do not get through for now. */
  const cutOff = async () => {
    const fake = FakeKeyValue.make()
    const wire = makeWire(fake.service)
    const epochs: Array<number> = []
    const mine = holder("me", wire.service, (epoch) => epochs.push(epoch))
    mine.want()
    await until(() => epochs.length === 1)
    wire.close()
    return { fake, wire, mine }
  }

  it("is free, also when renewals were on their way that nobody had heard of", async () => {
    const { fake, wire, mine } = await cutOff()
    await until(() => wire.held.length >= 2)
    const released = mine.release()
    wire.open()
    await released
    assert.deepInclude(there(fake).record, { epoch: 1, holder: null })
    await mine.close()
  })

  it("is left alone when another has it by then", async () => {
    const { fake, wire, mine } = await cutOff()
    const released = mine.release()
    const { record } = there(fake)
    const others = JSON.stringify({ ...record, epoch: 2, holder: "another" })
    await Effect.runPromise(fake.service.put(key, Buffer.from(others)))
    wire.open()
    await released
    assert.deepInclude(there(fake).record, { epoch: 2, holder: "another" })
    await mine.close()
  })
})
