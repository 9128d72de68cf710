/**
 * Queued messages and dead letters in SQLite. Runs in the store thread, inside its transactions.
 *
 * Who gets what and when is decided by `QueueGroup` in the process; here lies only what a restart must find again. A
 * settled message keeps its row without its payload for as long as its id must be remembered.
 *
 * Laws: T7 a dead letter is written in the same transaction as the end of its message. T8 a queue keeps at most
 * `deadLettersMax` dead letters; the oldest go. T9 what is to be delivered, or was put aside, is checked when it is read.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite"
import * as RowCheck from "./RowCheck.ts"
import { done, type StoredMessage, type StoreOrder, type TableAnswer } from "./StoreMessage.ts"

type Order<Tag extends StoreOrder["_tag"]> = Extract<StoreOrder, { readonly _tag: Tag }>

/** Per queue. They are for people to look at; more than a thousand nobody reads. */
export const deadLettersMax = 1_000

const messageOf = (row: Record<string, unknown>): StoredMessage => {
  const { sequence, queue, message_id, payload, delivery_count, settled_at_ms, sum } = row
  if (
    typeof sequence !== "number" ||
    typeof queue !== "string" ||
    typeof message_id !== "string" ||
    !(payload instanceof Uint8Array) ||
    typeof delivery_count !== "number" ||
    !(settled_at_ms === null || typeof settled_at_ms === "number")
  ) {
    throw new Error("a row of queue_message is not a message")
  }
  const settledAtMs = settled_at_ms ?? undefined
  if (settledAtMs === undefined) {
    RowCheck.require(sum, `message ${message_id} of queue ${queue}`, sequence, queue, message_id, payload)
  }
  return { sequence, queue, messageId: message_id, payload, deliveryCount: delivery_count, settledAtMs }
}

export const make = (database: DatabaseSync) => {
  const selectMessages = database.prepare(
    "SELECT sequence, queue, message_id, payload, delivery_count, settled_at_ms, sum FROM queue_message ORDER BY sequence"
  )
  const selectNextSequence = database.prepare(
    `SELECT 1 + max(
       coalesce((SELECT max(sequence) FROM queue_message), 0),
       coalesce((SELECT max(sequence) FROM queue_dead_letter), 0)) AS next`
  )
  const insertMessage = database.prepare(
    "INSERT INTO queue_message (sequence, queue, message_id, payload, delivery_count, sum) VALUES (?, ?, ?, ?, ?, ?)"
  )
  const updateDeliveryCount = database.prepare("UPDATE queue_message SET delivery_count = ? WHERE sequence = ?")
  const settleMessage = database.prepare(
    "UPDATE queue_message SET payload = zeroblob(0), settled_at_ms = ? WHERE sequence = ?"
  )
  const deleteMessage = database.prepare("DELETE FROM queue_message WHERE sequence = ?")
  const insertDeadLetter = database.prepare(
    `INSERT INTO queue_dead_letter (sequence, queue, message_id, payload, sum, reason)
     SELECT sequence, queue, message_id, payload, sum, ? FROM queue_message WHERE sequence = ? AND settled_at_ms IS NULL`
  )
  const dropDeadLetters = database.prepare(
    `DELETE FROM queue_dead_letter WHERE sequence IN (
       SELECT sequence FROM queue_dead_letter
       WHERE queue = (SELECT queue FROM queue_dead_letter WHERE sequence = ?)
       ORDER BY sequence DESC LIMIT -1 OFFSET ${deadLettersMax})`
  )
  const selectDeadLetters = database.prepare(
    "SELECT sequence, message_id, payload, reason, sum FROM queue_dead_letter WHERE queue = ? ORDER BY sequence"
  )

  return {
    publish: (order: Order<"Publish">): TableAnswer<"Publish"> => {
      const { sequence, queue, messageId, payload, deliveryCount } = order
      const sum = RowCheck.of(sequence, queue, messageId, payload)
      insertMessage.run(sequence, queue, messageId, payload, deliveryCount, sum)
      return done(undefined)
    },
    countDelivery: (order: Order<"CountDelivery">): TableAnswer<"CountDelivery"> => {
      updateDeliveryCount.run(order.deliveryCount, order.sequence)
      return done(undefined)
    },
    settle: (order: Order<"Settle">): TableAnswer<"Settle"> => {
      settleMessage.run(order.settledAtMs, order.sequence)
      return done(undefined)
    },
    deadLetter: (order: Order<"DeadLetter">): TableAnswer<"DeadLetter"> => {
      insertDeadLetter.run(order.reason, order.sequence)
      dropDeadLetters.run(order.sequence)
      settleMessage.run(order.settledAtMs, order.sequence)
      return done(undefined)
    },
    forget: (order: Order<"Forget">): TableAnswer<"Forget"> => {
      for (const sequence of order.sequences) deleteMessage.run(sequence)
      return done(undefined)
    },
    deadLetters: (order: Order<"DeadLetters">): TableAnswer<"DeadLetters"> =>
      done(
        selectDeadLetters.all(order.queue).map((row) => {
          const { payload, reason, sum } = row
          if (!(payload instanceof Uint8Array)) throw new Error("a dead letter has no payload")
          const messageId = String(row["message_id"])
          const where = `the dead letter ${messageId} of ${order.queue}`
          RowCheck.require(sum, where, Number(row["sequence"]), order.queue, messageId, payload)
          return { messageId, payload, reason: String(reason) }
        })
      ),
    loadMessages: (): ReadonlyArray<StoredMessage> => selectMessages.all().map(messageOf),
    nextSequence: (): number => Number(selectNextSequence.get()?.["next"])
  }
}

export type QueueTables = ReturnType<typeof make>
