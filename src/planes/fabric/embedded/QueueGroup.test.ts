import * as Result from "effect/Result"
import { assert, describe, it, vi } from "vitest"
import { Message, type Payload, type Read } from "../Message.ts"
import type { Delivery } from "../WorkQueue.ts"
import { type PublishOutcome, payloadOf, type QueuedMessage } from "./QueuedMessage.ts"
import * as QueueGroup from "./QueueGroup.ts"
import type { StoredMessage } from "./StoreMessage.ts"

const kept: PublishOutcome = { _tag: "Kept" }
const lost: PublishOutcome = { _tag: "Lost", reason: "the disk is full", isKnown: true, retryable: true }
const patient = { ackWaitMs: 60_000, maxInFlight: 100 }
const payload = new Uint8Array([1])

interface Sending {
  readonly message: QueuedMessage
  readonly isWanted: () => boolean
  readonly onOutcome: (outcome: PublishOutcome) => void
}

/** A store that answers when it is told to. */
const setUp = (messages: ReadonlyArray<StoredMessage> = [], isTaking = true) => {
  const clock = { nowMs: 1_000_000 }
  const told: Array<string> = []
  const sendings: Array<Sending> = []
  const forgotten: Array<number> = []
  const group = QueueGroup.make({
    messages,
    nextSequence: 100,
    nowMs: () => clock.nowMs,
    report: (what) => told.push(what),
    store: {
      isTaking: () => isTaking,
      publish: (message, isWanted, onOutcome) => sendings.push({ message, isWanted, onOutcome }),
      countDelivery: ({ messageId }) => told.push(`count ${messageId}`),
      settle: ({ messageId }) => told.push(`settle ${messageId}`),
      deadLetter: ({ messageId }, reason) => told.push(`dead ${messageId}: ${reason}`),
      forget: (sequences) => forgotten.push(...sequences)
    }
  })
  const answers: Array<QueueGroup.PublishAnswer> = []
  const publish = (messageId: string, queue = "q", content: Payload = payload) =>
    group.publish(queue, messageId, content, (answer) => answers.push(answer))
  /** The store sends what it was given and answers. */
  const settleStore = (outcome: PublishOutcome) => {
    for (const { message, isWanted, onOutcome } of sendings.splice(0)) {
      if (isWanted()) {
        message.storage = "Sent"
        onOutcome(outcome)
      } else onOutcome(kept)
    }
  }
  const deliveries: Array<Delivery> = []
  const consume = (onDelivery: (delivery: Delivery) => void = () => undefined) =>
    group.addConsumer("q", patient, (delivery) => {
      deliveries.push(delivery)
      onDelivery(delivery)
    })
  return { group, clock, told, sendings, forgotten, answers, publish, settleStore, deliveries, consume }
}

describe("QueueGroup", () => {
  it("E1: the store never hears of a message that is acked in the turn in which it came, and its id is remembered", () => {
    const { consume, publish, sendings, answers, told } = setUp()
    consume((delivery) => delivery.ack())
    publish("a")
    assert.deepStrictEqual(sendings, [])
    publish("a")
    assert.deepStrictEqual(
      answers.map(({ answer }) => answer),
      ["published", "duplicate"]
    )
    assert.deepStrictEqual(told, [])
  })

  it("E1: a message that is published again while its consumer has it in hand is delivered once", () => {
    const { consume, publish, sendings, answers, deliveries } = setUp()
    consume((delivery) => {
      publish("a")
      assert.deepStrictEqual(answers, [])
      delivery.ack()
    })
    publish("a")
    assert.strictEqual(deliveries.length, 1)
    assert.deepStrictEqual(sendings, [])
    assert.deepStrictEqual(
      answers.map(({ answer, outcome }) => [answer, outcome._tag]),
      [
        ["published", "Kept"],
        ["duplicate", "Kept"]
      ]
    )
  })

  it("what its consumer holds on to when the turn is over is given to the store", () => {
    const { consume, publish, sendings, answers } = setUp()
    consume()
    publish("a")
    assert.strictEqual(sendings.length, 1)
    assert.deepStrictEqual(answers, [])
  })

  it("E1: a message that is acked before it was sent is withdrawn, and its id is remembered", () => {
    const { consume, publish, sendings, settleStore, answers, told } = setUp([], false)
    consume((delivery) => delivery.ack())
    publish("a")
    assert.isFalse(sendings[0]?.isWanted())
    settleStore(kept)
    publish("a")
    assert.deepStrictEqual(
      answers.map(({ answer }) => answer),
      ["published", "duplicate"]
    )
    assert.deepStrictEqual(told, [])
  })

  it("E1: a message that is terminated before it was sent is written all the same, as a dead letter", () => {
    const { consume, publish, sendings, told } = setUp()
    consume((delivery) => delivery.terminate("no good"))
    publish("a")
    assert.isTrue(sendings[0]?.isWanted())
    assert.deepStrictEqual(told, ["dead a: no good"])
  })

  it("a duplicate does not answer before the first one is on the disk", () => {
    const { publish, settleStore, answers } = setUp()
    publish("a")
    publish("a")
    assert.deepStrictEqual(answers, [])
    settleStore(kept)
    assert.deepStrictEqual(
      answers.map(({ answer }) => answer),
      ["published", "duplicate"]
    )
  })

  it("a message that could not be stored is gone, and may be published again", () => {
    const { publish, settleStore, answers, consume, deliveries } = setUp()
    publish("a")
    settleStore(lost)
    assert.deepStrictEqual(answers, [{ answer: "published", outcome: lost }])
    consume()
    publish("a")
    settleStore(kept)
    assert.strictEqual(answers[1]?.answer, "published")
    assert.strictEqual(deliveries.length, 1)
  })

  it("a message that could not be stored, but is with a consumer, is unknown and not refused", () => {
    const { publish, settleStore, answers, consume } = setUp()
    consume()
    publish("a")
    settleStore(lost)
    assert.deepStrictEqual(answers, [{ answer: "published", outcome: { ...lost, isKnown: false } }])
  })

  it("E2: a nak of a holder whose time was over does not take the message from the next one", async () => {
    vi.useFakeTimers()
    try {
      const { publish, settleStore, consume, deliveries } = setUp()
      consume()
      publish("a")
      settleStore(kept)
      vi.advanceTimersByTime(60_001)
      assert.deepStrictEqual(
        deliveries.map((delivery) => delivery.deliveryCount),
        [1, 2]
      )
      deliveries[0]?.nak(0)
      deliveries[0]?.extend()
      vi.advanceTimersByTime(59_990)
      assert.strictEqual(deliveries.length, 2)
      vi.advanceTimersByTime(20)
      assert.strictEqual(deliveries.length, 3)
    } finally {
      vi.useRealTimers()
    }
  })

  it("E3: the id of a message that is not settled is remembered for as long as it takes", () => {
    const { publish, settleStore, consume, clock, answers, forgotten } = setUp()
    consume()
    publish("a")
    settleStore(kept)
    publish("a")
    clock.nowMs += QueueGroup.rememberMs * 10
    publish("a")
    assert.deepStrictEqual(
      answers.map(({ answer }) => answer),
      ["published", "duplicate", "duplicate"]
    )
    assert.deepStrictEqual(forgotten, [])
  })

  it("E3: a settled id is remembered for two minutes and then its row is given up", () => {
    const { publish, settleStore, consume, clock, answers, deliveries, forgotten } = setUp()
    consume()
    publish("a")
    settleStore(kept)
    deliveries[0]?.ack()
    clock.nowMs += QueueGroup.rememberMs - 1
    publish("a")
    clock.nowMs += 1
    publish("a")
    settleStore(kept)
    assert.deepStrictEqual(
      answers.map(({ answer }) => answer),
      ["published", "duplicate", "published"]
    )
    assert.deepStrictEqual(forgotten, [100])
  })

  it("E3: a queue remembers ten thousand ids, the newest", () => {
    const stored = Array.from({ length: QueueGroup.rememberedMax + 5 }, (_, index) => ({
      sequence: index,
      queue: "q",
      messageId: `${index}`,
      payload,
      deliveryCount: 1,
      settledAtMs: 999_000
    }))
    const { forgotten, publish, answers } = setUp(stored)
    assert.deepStrictEqual(forgotten, [0, 1, 2, 3, 4])
    publish("5")
    assert.strictEqual(answers[0]?.answer, "duplicate")
  })

  it("refuses what would not fit into memory, and takes more when something was settled", () => {
    const { publish, settleStore, answers, consume, deliveries } = setUp()
    const quarter = new Uint8Array(QueueGroup.payloadBytesMax / 4)
    for (const id of ["a", "b", "c", "d", "e"]) publish(id, "q", quarter)
    settleStore(kept)
    assert.deepStrictEqual(
      answers.map(({ outcome }) => outcome._tag),
      ["Lost", "Kept", "Kept", "Kept", "Kept"]
    )
    consume((delivery) => delivery.ack())
    publish("f", "q", new Uint8Array(0))
    assert.strictEqual(deliveries.length, 5)
    publish("e", "q", quarter)
    assert.strictEqual(deliveries.length, 6)
  })

  it("a message is bytes as soon as it outlives the turn in which it came, and not before", () => {
    const { consume, publish, sendings, deliveries, group } = setUp()
    let written = 0
    const read: Read<object> = () => Result.succeed({})
    const message = (text: string) =>
      new Message(read, {
        toJSON: () => {
          written += 1
          return { text }
        }
      })
    publish("waits", "q", message("waits"))
    assert.strictEqual(written, 1)
    const consumer = consume((delivery) => delivery.ack())
    assert.strictEqual(deliveries.length, 0)
    publish("is settled", "q", message("is settled"))
    assert.deepStrictEqual(
      deliveries.map(({ content }) => content instanceof Message),
      [false, true]
    )
    assert.strictEqual(written, 1)
    group.removeConsumer(consumer)
    consume()
    publish("is held", "q", message("is held"))
    assert.strictEqual(written, 2)
    const texts = sendings.map(({ message }) => Buffer.from(payloadOf(message)).toString())
    assert.deepStrictEqual([texts[0], texts[2]], ['{"text":"waits"}', '{"text":"is held"}'])
  })

  it("refuses a message whose bytes are too many, and does not say that it did not happen when somebody has it", () => {
    const { consume, publish, settleStore, answers, deliveries } = setUp()
    const read: Read<string> = () => Result.succeed("")
    const large = () => new Message(read, "x".repeat(QueueGroup.messageBytesMax))
    publish("a", "q", large())
    consume()
    publish("b", "q", large())
    settleStore(kept)
    assert.deepStrictEqual(
      answers.map(({ outcome }) => outcome._tag === "Lost" && outcome.isKnown),
      [true, false]
    )
    assert.deepStrictEqual(
      deliveries.map(({ messageId }) => messageId),
      ["b"]
    )
  })

  it("consumers of one queue share its messages, and one that publishes in its own delivery is not called inside it", () => {
    const { group, publish } = setUp()
    const seen: Array<string> = []
    let depth = 0
    for (const name of ["first", "second"]) {
      group.addConsumer("q", patient, (delivery) => {
        depth += 1
        assert.strictEqual(depth, 1)
        seen.push(`${name} ${delivery.messageId}`)
        if (delivery.messageId === "a") publish("d")
        depth -= 1
      })
    }
    for (const id of ["a", "b", "c"]) publish(id)
    assert.deepStrictEqual(seen, ["first a", "second d", "first b", "second c"])
  })
})
