/**
 * The laws of `WorkQueue`, for any maker. Numbers as in `src/planes/fabric/WorkQueue.ts`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as AgentMessageCheck from "../../src/planes/compute/AgentMessageCheck.ts"
import { Message } from "../../src/planes/fabric/Message.ts"
import { type Delivery, WorkQueue } from "../../src/planes/fabric/WorkQueue.ts"
import {
  eventually,
  type FabricMaker,
  type FabricPlace,
  killWhileWriting,
  type OpenFabric,
  open,
  using,
  withPlace
} from "./FabricMaker.ts"
import * as Written from "./Written.ts"

const payload = (text: string) => Buffer.from(text)
/** Long enough that no test waits for it. */
const patient = { ackWaitMs: 60_000, maxInFlight: 1_000 }

const publish = (queue: string, messageId: string) =>
  WorkQueue.use((workQueue) => workQueue.publish(queue, messageId, payload(messageId)))

/** Consumes until `isEnough`, in a scope of its own; answers every delivery. */
const consumeUntil = (
  queue: string,
  options: { readonly ackWaitMs: number; readonly maxInFlight: number },
  handle: (delivery: Delivery) => void,
  isEnough: (deliveries: ReadonlyArray<Delivery>) => boolean
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const workQueue = yield* WorkQueue
      const deliveries: Array<Delivery> = []
      yield* workQueue.consume(queue, options, (delivery) => {
        deliveries.push(delivery)
        handle(delivery)
      })
      yield* Effect.promise(() =>
        eventually(
          `the deliveries of ${queue}`,
          () => deliveries.map(({ messageId, deliveryCount }) => `${messageId}#${deliveryCount}`),
          () => isEnough(deliveries)
        )
      )
      return deliveries
    })
  )

const ids = (deliveries: ReadonlyArray<Delivery>) => deliveries.map((delivery) => delivery.messageId)
const ack = (delivery: Delivery) => delivery.ack()
const keep = () => undefined

/** What is left in a queue: everything that comes before a message that is published now. */
const remaining = (queue: string) =>
  Effect.gen(function* () {
    yield* publish(queue, "the end")
    const deliveries = yield* consumeUntil(queue, patient, ack, (seen) => ids(seen).includes("the end"))
    return ids(deliveries).filter((id) => id !== "the end")
  })

const findFaults = async (fabric: OpenFabric, confirmed: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const seen = new Map<string, Buffer>()
  await fabric.run(
    Effect.gen(function* () {
      yield* publish("orders.kill", "the end")
      yield* consumeUntil(
        "orders.>",
        patient,
        (delivery) => {
          seen.set(delivery.messageId, Buffer.from(delivery.payload))
          delivery.ack()
        },
        () => seen.has("the end")
      )
    })
  )
  return confirmed.flatMap((id) => {
    const found = seen.get(id)
    if (found === undefined) return [`${id} was confirmed and did not come`]
    return found.equals(Written.bytes(id)) ? [] : [`the payload of ${id} changed`]
  })
}

export const workQueueLaws = (maker: FabricMaker): void => {
  describe(`WorkQueue: ${maker.name}`, () => {
    let place: FabricPlace
    let fabric: OpenFabric
    let queueCount = 0
    const freshQueue = () => `laws.q${queueCount++}`

    beforeAll(async () => {
      place = await maker.makePlace()
      fabric = await open(maker, place)
    })
    afterAll(async () => {
      await fabric?.close()
      await place?.remove()
    })

    it("Q1: a message comes as the value that was published, and after a restart as what its bytes say", async () => {
      const drain = { instanceId: "i", versionId: "v", reason: "it is to end" }
      const read = (delivery: Delivery) => Result.getOrThrow(AgentMessageCheck.drain(delivery.content))
      await withPlace(maker, async (place) => {
        const first = await using(maker, place, (fabric) =>
          fabric.run(
            Effect.gen(function* () {
              const workQueue = yield* WorkQueue
              yield* workQueue.publish("q", "m", new Message(AgentMessageCheck.drain, drain))
              return yield* consumeUntil("q", patient, keep, (seen) => seen.length > 0)
            })
          )
        )
        assert.deepStrictEqual(first.map(read), [drain])
        const again = await using(maker, place, (fabric) =>
          fabric.run(consumeUntil("q", patient, ack, (seen) => seen.length > 0))
        )
        assert.deepStrictEqual(again.map(read), [drain])
        assert.deepStrictEqual(JSON.parse(Buffer.from(again[0]?.payload ?? "").toString()), drain)
      })
    })

    it("Q1, Q3: after a restart come the messages that were neither acked nor terminated, and no others", async () => {
      await withPlace(maker, async (place) => {
        await using(maker, place, (fabric) =>
          fabric.run(
            Effect.gen(function* () {
              for (const id of ["acked", "terminated", "held", "naked", "waiting"]) yield* publish("q", id)
              yield* consumeUntil(
                "q",
                { ...patient, maxInFlight: 2 },
                (delivery) => {
                  if (delivery.messageId === "acked") delivery.ack()
                  if (delivery.messageId === "terminated") delivery.terminate("no good")
                  if (delivery.messageId === "naked") delivery.nak(60_000)
                },
                (seen) => ids(seen).includes("naked")
              )
            })
          )
        )
        await using(maker, place, async (fabric) => {
          assert.sameMembers([...(await fabric.run(remaining("q")))], ["held", "naked", "waiting"])
        })
      })
    })

    it("Q1: a kill in the middle of publishing takes nothing that was confirmed", async () => {
      await withPlace(maker, async (place) => {
        const options = { scenario: "workQueue", honesty: "honest", seed: 1, lineCount: 60 } as const
        const lines = await killWhileWriting(maker, place, options)
        assert.deepStrictEqual(await using(maker, place, (fabric) => findFaults(fabric, lines)), [])
      })
    })

    it("control: the same check finds the loss of a publisher that confirms before it publishes", async () => {
      await withPlace(maker, async (place) => {
        const options = { scenario: "workQueue", honesty: "early", seed: 1, lineCount: 60 } as const
        const lines = await killWhileWriting(maker, place, options)
        assert.notDeepEqual(await using(maker, place, (fabric) => findFaults(fabric, lines)), [])
      })
    })

    it("Q2: one id published many times at once, and again after its ack and after a restart, is one message", async () => {
      await withPlace(maker, async (place) => {
        const first = await using(maker, place, (fabric) =>
          fabric.run(
            Effect.gen(function* () {
              const answers = yield* Effect.forEach([1, 2, 3, 4], () => publish("q", "same"), {
                concurrency: "unbounded"
              })
              assert.deepStrictEqual(yield* remaining("q"), ["same"])
              return [...answers, yield* publish("q", "same")]
            })
          )
        )
        assert.deepStrictEqual([...first].sort(), ["duplicate", "duplicate", "duplicate", "duplicate", "published"])
        await using(maker, place, async (fabric) => {
          assert.strictEqual(await fabric.run(publish("q", "same")), "duplicate")
          assert.strictEqual(await fabric.run(publish("another", "same")), "published")
        })
      })
    })

    it("Q3: a late ack, of a holder whose time is over, settles too", async () => {
      const queue = freshQueue()
      await fabric.run(
        Effect.gen(function* () {
          yield* publish(queue, "slow")
          const deliveries = yield* consumeUntil(
            queue,
            { ackWaitMs: 30, maxInFlight: 1 },
            keep,
            (seen) => seen.length >= 2
          )
          deliveries[0]!.ack()
          assert.deepStrictEqual(yield* remaining(queue), [])
        })
      )
    })

    it("Q4: what is neither acked nor extended comes again, each time with a higher count", async () => {
      const queue = freshQueue()
      const deliveries = await fabric.run(
        Effect.andThen(
          publish(queue, "ignored"),
          consumeUntil(queue, { ackWaitMs: 30, maxInFlight: 1 }, keep, (seen) => seen.length >= 3)
        )
      )
      assert.deepStrictEqual(
        deliveries.slice(0, 3).map((delivery) => delivery.deliveryCount),
        [1, 2, 3]
      )
    })

    it("Q4: a holder that extends keeps its message for longer than the wait", async () => {
      const queue = freshQueue()
      const startMs = performance.now()
      await fabric.run(
        Effect.gen(function* () {
          yield* publish(queue, "long work")
          let extensions = 0
          const extendFourTimes = (delivery: Delivery) => {
            if (delivery.deliveryCount > 1) return
            const timer = setInterval(() => {
              if (++extensions > 4) return clearInterval(timer)
              delivery.extend()
            }, 250)
          }
          const options = { ackWaitMs: 1_000, maxInFlight: 1 }
          yield* consumeUntil(queue, options, extendFourTimes, (seen) => seen.length >= 2)
        })
      )
      // Four extensions a quarter of a second apart, then the whole wait; a timer may be early by one long turn.
      assert.isAtLeast(performance.now() - startMs, 1_900)
    })

    it("Q4: a nak brings the message back after its delay and not before", async () => {
      const queue = freshQueue()
      const atMs: Array<number> = []
      await fabric.run(
        Effect.andThen(
          publish(queue, "later"),
          consumeUntil(
            queue,
            patient,
            (delivery) => {
              atMs.push(performance.now())
              if (delivery.deliveryCount === 1) delivery.nak(150)
              else delivery.ack()
            },
            (seen) => seen.length >= 2
          )
        )
      )
      // A timer may be early by as much as the turn lasted that set it.
      assert.isAtLeast(atMs[1]! - atMs[0]!, 100)
    })

    it("Q4: what a consumer held when its scope closed goes to the next one", async () => {
      const queue = freshQueue()
      await fabric.run(
        Effect.gen(function* () {
          yield* publish(queue, "one")
          yield* publish(queue, "two")
          yield* consumeUntil(queue, patient, keep, (seen) => seen.length === 2)
          const again = yield* consumeUntil(queue, patient, ack, (seen) => seen.length === 2)
          // Only first deliveries have an order.
          assert.sameMembers([...ids(again)], ["one", "two"])
          assert.deepStrictEqual(
            again.map((delivery) => delivery.deliveryCount),
            [2, 2]
          )
        })
      )
    })

    it("Q1, Q3, Q5, Q6: whatever consumers do, each message is settled once, in order at first, and never too many are out", async () => {
      const conducts = fc.array(fc.constantFrom("ack", "nak", "ignore", "terminate", "ack later"), {
        minLength: 1,
        maxLength: 40
      })
      await fc.assert(
        fc.asyncProperty(conducts, fc.integer({ min: 1, max: 4 }), async (conducts, maxInFlight) => {
          const queue = freshQueue()
          /** Who is certainly out. Of an ignored message only the maker knows when its time is over. */
          const out = new Set<string>()
          const settled: Array<string> = []
          let outMax = 0
          const settle = (delivery: Delivery, how: () => void) => {
            out.delete(delivery.messageId)
            settled.push(delivery.messageId)
            how()
          }
          const handle = (delivery: Delivery) => {
            const conduct = delivery.deliveryCount > 1 ? "ack" : conducts[Number(delivery.messageId)]
            if (conduct !== "ignore") out.add(delivery.messageId)
            outMax = Math.max(outMax, out.size)
            if (conduct === "terminate") settle(delivery, () => delivery.terminate("as told"))
            if (conduct === "ack") settle(delivery, delivery.ack)
            if (conduct === "ack later") queueMicrotask(() => settle(delivery, delivery.ack))
            if (conduct === "nak") {
              out.delete(delivery.messageId)
              delivery.nak(1)
            }
          }
          const deliveries = await fabric.run(
            Effect.gen(function* () {
              const publishing = Effect.forEach(conducts, (_, index) => publish(queue, `${index}`), {
                concurrency: "unbounded"
              })
              const consuming = consumeUntil(
                queue,
                { ackWaitMs: 40, maxInFlight },
                handle,
                () => settled.length >= conducts.length
              )
              const [, deliveries] = yield* Effect.all([publishing, consuming], { concurrency: "unbounded" })
              assert.deepStrictEqual(yield* remaining(queue), [])
              return deliveries
            })
          )
          assert.sameMembers(
            settled,
            conducts.map((_, index) => `${index}`)
          )
          assert.deepStrictEqual(
            ids(deliveries.filter((delivery) => delivery.deliveryCount === 1)),
            conducts.map((_, index) => `${index}`)
          )
          assert.isAtMost(outMax, maxInFlight)
        }),
        { numRuns: 20 }
      )
    })

    it("Q6: a consumer of three at a time gets the fourth when it has settled one, and not before", async () => {
      const [queue, barrier] = [freshQueue(), freshQueue()]
      await fabric.run(
        Effect.scoped(
          Effect.gen(function* () {
            const workQueue = yield* WorkQueue
            const held: Array<Delivery> = []
            /** Whoever gets a later message of another queue knows that the earlier ones had their chance. */
            const pass = (id: string) =>
              Effect.andThen(
                publish(barrier, id),
                consumeUntil(barrier, patient, ack, (seen) => seen.length === 1)
              )
            for (let index = 0; index < 6; index++) yield* publish(queue, `${index}`)
            yield* workQueue.consume(queue, { ...patient, maxInFlight: 3 }, (delivery) => held.push(delivery))
            yield* pass("first")
            assert.deepStrictEqual(ids(held), ["0", "1", "2"])
            held[1]!.ack()
            yield* pass("second")
            assert.deepStrictEqual(ids(held), ["0", "1", "2", "3"])
          })
        )
      )
    })

    it("a terminated message lies among the dead letters with its reason, also after a restart", async () => {
      await withPlace(maker, async (place) => {
        await using(maker, place, (fabric) =>
          fabric.run(
            Effect.gen(function* () {
              yield* publish("q", "good")
              yield* publish("q", "bad")
              yield* publish("q", "worse")
              const handle = (delivery: Delivery) =>
                delivery.messageId === "good" ? delivery.ack() : delivery.terminate(`${delivery.messageId} by nature`)
              yield* consumeUntil("q", patient, handle, (seen) => seen.length === 3)
            })
          )
        )
        const letters = await using(maker, place, (fabric) =>
          fabric.run(WorkQueue.use((workQueue) => workQueue.deadLetters("q")))
        )
        assert.deepStrictEqual(
          letters.map((letter) => [letter.messageId, Buffer.from(letter.payload).toString(), letter.reason]),
          [
            ["bad", "bad", "bad by nature"],
            ["worse", "worse", "worse by nature"]
          ]
        )
      })
    })

    it("a consumer of `orders.>` gets every queue below that name and no other", async () => {
      const base = freshQueue()
      const queues = [`${base}.a`, `${base}.a.b`, `${base}x.a`, base]
      const deliveries = await fabric.run(
        Effect.gen(function* () {
          for (const queue of queues) yield* publish(queue, queue)
          yield* publish(`${base}.last`, "last")
          return yield* consumeUntil(`${base}.>`, patient, ack, (seen) => seen.length >= 3)
        })
      )
      assert.sameMembers([...ids(deliveries)], [`${base}.a`, `${base}.a.b`, "last"])
    })

    it("a consumer of `orders.*.here.*` gets every queue with one token at each star and no other", async () => {
      const base = freshQueue()
      const queues = [`${base}.a.here.b`, `${base}.c.here.a.b`, `${base}.a.there.b`, `${base}.here.b`]
      const deliveries = await fabric.run(
        Effect.gen(function* () {
          for (const queue of queues) yield* publish(queue, queue)
          yield* publish(`${base}.b.here.last`, "last")
          return yield* consumeUntil(`${base}.*.here.*`, patient, ack, (seen) => seen.length >= 2)
        })
      )
      assert.sameMembers([...ids(deliveries)], [`${base}.a.here.b`, "last"])
      assert.sameMembers(
        deliveries.map(({ queue }) => queue),
        [`${base}.a.here.b`, `${base}.b.here.last`]
      )
    })

    it("Q4: a consumer that throws gets the message again and harms nobody else", async () => {
      const queue = freshQueue()
      const handle = (delivery: Delivery) => {
        if (delivery.messageId === "explosive" && delivery.deliveryCount === 1) {
          throw new Error("a consumer's own fault, thrown by the test")
        }
        delivery.ack()
      }
      const deliveries = await fabric.run(
        Effect.gen(function* () {
          assert.strictEqual(yield* publish(queue, "explosive"), "published")
          assert.strictEqual(yield* publish(queue, "harmless"), "published")
          return yield* consumeUntil(queue, { ackWaitMs: 30, maxInFlight: 10 }, handle, (seen) => seen.length === 3)
        })
      )
      assert.deepStrictEqual(ids(deliveries), ["explosive", "harmless", "explosive"])
    })
  })
}
