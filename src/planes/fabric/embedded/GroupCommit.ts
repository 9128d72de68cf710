/**
 * Carries out a group of orders in one transaction with one commit. Runs in the store thread.
 *
 * Laws: G1 no answer says `Done` before the commit that made it so. G2 an order that meets another position or revision
 * answers `Conflict`, writes nothing and leaves the rest of its group alone. G3 when the disk is full before the commit,
 * the whole group did not happen and the store goes on. G4 when a commit failed, nobody can tell: the writes of that
 * group answer `Unknown`, and from then on every write is refused. G5 any other failure before the commit refuses the
 * group and every write after it: after an I/O error the page cache cannot be trusted.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite"
import * as CrashPoint from "../../CrashPoint.ts"
import * as KeyValueTable from "./KeyValueTable.ts"
import * as LogTables from "./LogTables.ts"
import * as QueueTables from "./QueueTables.ts"
import { describe, sqliteCode } from "./StoreDatabase.ts"
import type { Confirmed } from "./StoreMark.ts"
import { type AnyAnswer, isGrowing, isRead, type StoreOrder } from "./StoreMessage.ts"

const sqliteFull = 13

export interface Options {
  readonly database: DatabaseSync
  /** Says why, when the disk is so full that only orders that give room back are taken. */
  readonly roomProblem: () => string | undefined
}

const unreachable = (value: never): never => {
  throw new Error(`unreachable order ${JSON.stringify(value)}`)
}

const refused = (reason: string, retryable: boolean): AnyAnswer => ({ _tag: "Refused", reason, retryable })

export const make = ({ database, roomProblem }: Options) => {
  const log = LogTables.make(database)
  const keyValue = KeyValueTable.make(database)
  const queue = QueueTables.make(database)
  let failure: string | undefined
  let confirmed: Confirmed = { records: log.recordCount(), revision: keyValue.revision() }

  const perform = (order: StoreOrder): AnyAnswer => {
    switch (order._tag) {
      case "Append":
        return log.append(order)
      case "Read":
        return log.read(order)
      case "Bounds":
        return log.bounds(order)
      case "StageSnapshot":
        return log.stageSnapshot(order)
      case "SaveSnapshot":
        return log.saveSnapshot(order)
      case "LoadSnapshot":
        return log.loadSnapshot(order)
      case "Truncate":
        return log.truncate(order)
      case "Get":
        return keyValue.get(order)
      case "List":
        return keyValue.list(order)
      case "ListPage":
        return keyValue.listPage(order)
      case "Put":
        return keyValue.put(order)
      case "Remove":
        return keyValue.remove(order)
      case "Publish":
        return queue.publish(order)
      case "CountDelivery":
        return queue.countDelivery(order)
      case "Settle":
        return queue.settle(order)
      case "DeadLetter":
        return queue.deadLetter(order)
      case "Forget":
        return queue.forget(order)
      case "DeadLetters":
        return queue.deadLetters(order)
      default:
        return unreachable(order)
    }
  }

  const rollBack = () => {
    // SQLite has already rolled back by itself after some errors.
    if (database.isTransaction) database.exec("ROLLBACK")
    log.reload()
    keyValue.reload()
  }

  /** Writes are refused from here on; what can be read is still read. */
  const fail = (reason: string) => {
    failure ??= reason
  }

  const refusal = (reason: string) =>
    refused(`${reason}. The store takes no more writes until Millrace is started again`, false)

  const performRead = (order: StoreOrder): AnyAnswer => {
    try {
      return perform(order)
    } catch (error) {
      return refused(describe(error), false)
    }
  }

  /** Before the commit: every answer that is not a read is as if it had never been asked. */
  const abandon = (orders: ReadonlyArray<StoreOrder>, error: unknown): ReadonlyArray<AnyAnswer> => {
    const reason = describe(error)
    try {
      rollBack()
    } catch (rollBackError) {
      fail(`it could not roll back: ${describe(rollBackError)}`)
    }
    const isFull = sqliteCode(error) === sqliteFull
    if (!isFull) fail(`it failed: ${reason}`)
    return orders.map((order) => {
      if (isRead(order)) return performRead(order)
      return isFull ? refused(`the disk is full: ${reason}`, true) : refusal(reason)
    })
  }

  const uncertain = (orders: ReadonlyArray<StoreOrder>, error: unknown): ReadonlyArray<AnyAnswer> => {
    const reason = `the commit failed: ${describe(error)}`
    fail(reason)
    try {
      rollBack()
    } catch {
      // Nothing to add: the store is already given up, and the disk says at the next start what it holds.
    }
    return orders.map((order) => (isRead(order) ? refusal(reason) : { _tag: "Unknown", reason }))
  }

  const performWrites = (orders: ReadonlyArray<StoreOrder>): ReadonlyArray<AnyAnswer> => {
    const answers: Array<AnyAnswer> = []
    try {
      const noRoom = roomProblem()
      CrashPoint.hit("store.group.beforeBegin")
      database.exec("BEGIN IMMEDIATE")
      for (const order of orders) {
        CrashPoint.hit("store.group.order")
        const isTaken = noRoom === undefined || !isGrowing(order)
        answers.push(isTaken ? perform(order) : refused(noRoom, true))
      }
      CrashPoint.hit("store.group.ordersDone")
      keyValue.beforeCommit()
      log.collectGarbage()
    } catch (error) {
      return abandon(orders, error)
    }
    try {
      CrashPoint.hit("store.group.beforeCommit")
      database.exec("COMMIT")
      CrashPoint.hit("store.group.afterCommit")
      confirmed = { records: log.recordCount(), revision: keyValue.revision() }
    } catch (error) {
      // The pages of the log did not fit, so the one that makes it a commit was not written.
      if (sqliteCode(error) === sqliteFull) return abandon(orders, error)
      return uncertain(orders, error)
    }
    return answers
  }

  return {
    /** One answer per order, in order. Never throws. */
    execute: (orders: ReadonlyArray<StoreOrder>): ReadonlyArray<AnyAnswer> => {
      if (orders.every(isRead)) return orders.map(performRead)
      if (failure === undefined) return performWrites(orders)
      const reason = failure
      return orders.map((order) => (isRead(order) ? performRead(order) : refusal(reason)))
    },
    /** Copies the write-ahead log into the database, so that it starts again at its beginning. */
    checkpoint: () => {
      if (failure !== undefined) return
      try {
        CrashPoint.hit("store.checkpoint.before")
        database.exec("PRAGMA wal_checkpoint(PASSIVE)")
        CrashPoint.hit("store.checkpoint.after")
      } catch (error) {
        // Full: everything is still in the log, and the next checkpoint tries again.
        if (sqliteCode(error) !== sqliteFull) fail(`a checkpoint failed: ${describe(error)}`)
      }
    },
    fail,
    failure: (): string | undefined => failure,
    /** By the last commit. */
    confirmed: (): Confirmed => confirmed,
    hasGarbage: (): boolean => failure === undefined && log.hasGarbage(),
    /** A transaction that only removes a slice of garbage. */
    collectGarbage: () => {
      CrashPoint.hit("store.garbage.before")
      performWrites([])
      CrashPoint.hit("store.garbage.after")
    },
    loadMessages: queue.loadMessages,
    nextSequence: queue.nextSequence,
    nextSnapshot: log.nextSnapshot
  }
}

export type GroupCommit = ReturnType<typeof make>
