/**
 * Carries out what the buffer machine of a shard orders, each order by the part that it concerns: calls to workers, answers
 * and ends to callers, records to the log.
 *
 * @module
 */
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { Command } from "../../core/buffer/BufferEvent.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import type { AnswerIntake } from "./AnswerIntake.ts"
import type { Attempt } from "./Attempt.ts"
import * as CallDelivery from "./CallDelivery.ts"
import type { End, Entry } from "./Entry.ts"
import type { EventStreams } from "./EventStreams.ts"
import { nowMs } from "./PlaneClock.ts"
import { fromRefusal, storeFull } from "./Problem.ts"
import type { ShardEntries } from "./ShardEntries.ts"
import type { ShardMachine } from "./ShardMachine.ts"
import type { ShardRecords } from "./ShardRecords.ts"
import type { ShardWorkers } from "./ShardWorkers.ts"

export interface ShardOrdersInit {
  readonly machine: ShardMachine
  readonly entries: ShardEntries
  readonly workers: ShardWorkers
  readonly records: ShardRecords
  readonly intake: AnswerIntake
  readonly eventStreams: EventStreams
  readonly blobs: BlobStore["Service"]
  readonly demandChanged: (versionId: string, urgent: boolean) => void
  readonly ended: (entry: Entry) => void
  readonly stale: (workerId: string, event: string) => void
}

type Order<Tag extends Command["_tag"]> = Extract<Command, { _tag: Tag }>

export class ShardOrders {
  readonly #init: ShardOrdersInit

  constructor(init: ShardOrdersInit) {
    this.#init = init
  }

  carryOut(command: Command): void {
    const { entries, records } = this.#init
    switch (command._tag) {
      case "Append":
        return records.add(command)
      case "DropAppend":
        return records.drop(command.sequence)
      case "Assign":
        return this.#assign(command)
      case "TellEnded":
        return this.#tellEnded(command)
      case "Forget":
        return entries.forget(command.sequence)
      case "DemandChanged":
        return this.#init.demandChanged(command.version, command.urgent)
      case "TellAccepted":
        return this.#tellAccepted(command)
      case "Refuse":
        return this.#refuse(command)
      case "Join":
        return this.#join(command)
      case "ReleaseResponse": {
        const attempt = this.#attemptOf(command)
        if (attempt?.entry.caller !== undefined) this.#release(attempt)
        return
      }
      case "CollectResponse":
        return this.#attemptOf(command)?.collect(this.#init.blobs)
      case "DiscardResponse": {
        const attempt = this.#attemptOf(command)
        if (attempt !== undefined) this.#init.workers.detach(attempt)
        return
      }
      case "CancelAttempt":
        return this.#cancelAttempt(command)
      case "RejectStale":
        return this.#init.stale(command.workerId, command.event)
    }
  }

  /** Undefined: another one has begun since, or none is under way. */
  #attemptOf({ sequence, token }: { readonly sequence: number; readonly token: number }): Attempt | undefined {
    const attempt = this.#init.entries.get(sequence)?.attempt
    return attempt?.token === token ? attempt : undefined
  }

  // --- to workers --------------------------------------------------------------------------------------------------

  #assign(command: Order<"Assign">): void {
    const { entries, workers, intake, blobs } = this.#init
    const entry = entries.get(command.sequence)
    const worker = workers.get(command.workerId)
    if (entry === undefined || worker === undefined) return
    if (entry.attempt !== undefined) workers.detach(entry.attempt)
    CrashPoint.hit("invocation.assign.before")
    const attempt = workers.begin(worker, entry, command.token, command.attempt)
    CrashPoint.hit("invocation.assign.indexed")
    const send = (call: NonNullable<Entry["call"]>) => {
      const failed = (message: string) => intake.fail(attempt, false, message)
      CallDelivery.send({ attempt, call, command, blobs, failed })
    }
    if (entry.call !== undefined) return send(entry.call)
    entries.loadCall(entry).then(
      (call) => {
        if (!attempt.over) send(call)
      },
      (error: unknown) => intake.fail(attempt, true, `its call could not be read back: ${String(error)}`)
    )
  }

  #cancelAttempt({ sequence, workerId, token, reason }: Order<"CancelAttempt">): void {
    const { entries, workers } = this.#init
    const entry = entries.get(sequence)
    if (entry === undefined) return
    workers.get(workerId)?.send({ _tag: "Cancel", requestId: entry.requestId, token, reason })
    CrashPoint.hit("invocation.cancelAttempt")
    if (reason === "lease-expired") {
      entry.note(nowMs(), `attempt ${entry.attempts} was lost: its worker fell silent and the lease ran out`)
    }
    if (entry.attempt?.token === token) workers.detach(entry.attempt)
  }

  // --- to callers --------------------------------------------------------------------------------------------------

  #tellAccepted({ sequence }: Order<"TellAccepted">): void {
    const entry = this.#init.entries.get(sequence)
    const caller = entry?.caller
    if (entry === undefined || caller === undefined) return
    // It waits for nothing more, and a connection would stay in memory as long as the request.
    entry.caller = undefined
    caller.accepted(entry)
  }

  #refuse({ sequence, refusal }: Order<"Refuse">): void {
    const { entries, records } = this.#init
    const entry = entries.get(sequence)
    if (entry === undefined) return
    entries.remove(entry)
    // What is unknown may be there after a restart, and needs its body then.
    if (refusal.kind !== "store-failed" || refusal.kept === "nothing") entries.dropCall(entry)
    const isFull = refusal.kind === "store-failed" && records.isFull
    entry.caller?.refused(isFull ? storeFull(true) : fromRefusal(refusal))
    // Others may have joined it before the store failed.
    if (refusal.kind === "store-failed") entry.tellEnd(unwritten)
  }

  #join({ sequence, original }: Order<"Join">): void {
    const { entries } = this.#init
    const entry = entries.get(sequence)
    const joined = entries.get(original)
    if (entry === undefined || joined === undefined) return
    entries.remove(entry)
    entries.dropCall(entry)
    entry.caller?.joined(joined)
  }

  #release(attempt: Attempt): void {
    const { entry, stream } = attempt
    const { caller } = entry
    if (caller === undefined) return
    if (stream === undefined) return attempt.release(caller)
    // After a crash the log must know that this was seen, so that no other attempt is.
    this.#init.eventStreams.show(stream).then(
      () => {
        if (!attempt.over && entry.caller === caller) attempt.release(caller)
      },
      (error: unknown) => this.#init.intake.fail(attempt, false, `its stream could not be stored: ${String(error)}`)
    )
  }

  #tellEnded({ sequence, terminal, reason, message, resultKept }: Order<"TellEnded">): void {
    const { machine, entries, workers, records, eventStreams } = this.#init
    const entry = entries.get(sequence)
    if (entry === undefined) return
    CrashPoint.hit("invocation.tellEnded.before")
    entry.endedMs ??= nowMs()
    entry.keepUntilMs = Buffer_.lookup(machine.state, sequence)?.keepUntilMs
    const { caller, attempt } = entry
    entry.caller = undefined
    if (terminal === "responded" && attempt?.stream !== undefined) eventStreams.complete(attempt.stream)
    if (attempt !== undefined) workers.detach(attempt)
    const tell = (end: End) => {
      if (caller !== undefined) {
        if (terminal === "responded" && attempt?.released === true) caller.done()
        else if (terminal === "responded" && entry.answer !== undefined) caller.whole(entry.answer)
        else caller.ended(end)
      }
      entry.tellEnd(end)
      CrashPoint.hit("invocation.tellEnded.after")
      this.#init.ended(entry)
    }
    const end: End = { terminal, reason, message, resultKept }
    if (terminal !== "dead-lettered" || !entry.isWritten) return tell(end)
    records.letterOf(entry, end).then(
      () => tell(end),
      () => tell(unwritten)
    )
  }
}

const unwritten: End = { terminal: "failed", reason: "store-failed", message: null, resultKept: false }
