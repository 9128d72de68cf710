/**
 * One durable publish to JetStream: tried again with the same message id while its outcome is unknown.
 *
 * Laws: P1 `Stored` means that the server confirmed it. P2 `Refused` and `Conflict` mean that it is not stored, `Conflict`
 * after a try whose outcome is unknown only that the place is taken: by itself or by another. P3 it is never stored twice
 * within the dedupe window.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import { headers, type MsgHdrs } from "@nats-io/transport-node"
import * as NatsFailure from "./NatsFailure.ts"
import type { Supervisor } from "./Supervisor.ts"

export interface Outgoing {
  readonly subject: string
  readonly data: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  readonly messageId: string
  /** The sequence of the last message of the whole stream. */
  readonly expectedLast?: number | undefined
  /** The sequence of the last message of its subject; 0 = none. */
  readonly expectedLastOfSubject?: number | undefined
}

export type Published =
  | { readonly _tag: "Stored"; readonly sequence: number; readonly isDuplicate: boolean }
  /** Something else is at the expected place. `wasTried`: an earlier try of this very call may have put it there. */
  | { readonly _tag: "Conflict"; readonly wasTried: boolean }
  | { readonly _tag: "Refused"; readonly reason: string; readonly retryable: boolean }
  | { readonly _tag: "Unknown"; readonly reason: string }

const backoffMs = [20, 50, 100, 200, 400]
/** Short, since a server that died never answers, and its successor knows the id of what it stored. */
const firstWaitMs = 500
const waitMaxMs = 1_000

const headersOf = (values: Readonly<Record<string, string>>): MsgHdrs => {
  const result = headers()
  for (const [name, value] of Object.entries(values)) result.set(name, value)
  return result
}

export const publish = async (supervisor: Supervisor, message: Outgoing): Promise<Published> => {
  const endMs = performance.now() + supervisor.options.unknownLimitMs
  let isUnknown = false
  let reason = ""
  for (let round = 0; ; round++) {
    // What the client would keep for the next connection would be sent then, whoever had given up on it.
    if (supervisor.isConnected) {
      const answerMs = Math.min(round === 0 ? firstWaitMs : waitMaxMs, supervisor.options.requestTimeoutMs)
      const tried = await tryOnce(supervisor, message, answerMs)
      if (tried._tag === "Stored") return tried
      if (tried._tag === "Conflict") return { _tag: "Conflict", wasTried: isUnknown }
      reason = tried.reason
      if (tried._tag === "Unknown") isUnknown = true
      else if (!tried.mayPass) {
        return isUnknown ? { _tag: "Unknown", reason } : { _tag: "Refused", reason, retryable: tried.isFull }
      }
    } else reason = "there is no connection to NATS"
    const waitMs = backoffMs[Math.min(round, backoffMs.length - 1)]!
    if (supervisor.isClosed || performance.now() + waitMs > endMs) break
    await sleep(waitMs)
  }
  return isUnknown ? { _tag: "Unknown", reason } : { _tag: "Refused", reason, retryable: true }
}

type Tried =
  | Extract<Published, { readonly _tag: "Stored" | "Unknown" }>
  | { readonly _tag: "Conflict" }
  | { readonly _tag: "Failed"; readonly reason: string; readonly mayPass: boolean; readonly isFull: boolean }

const tryOnce = async (supervisor: Supervisor, message: Outgoing, timeout: number): Promise<Tried> => {
  try {
    const ack = await supervisor.link.js.publish(message.subject, message.data, {
      msgID: message.messageId,
      headers: headersOf(message.headers),
      timeout,
      expect: {
        ...(message.expectedLast === undefined ? {} : { lastSequence: message.expectedLast }),
        ...(message.expectedLastOfSubject === undefined ? {} : { lastSubjectSequence: message.expectedLastOfSubject })
      }
    })
    return { _tag: "Stored", sequence: ack.seq, isDuplicate: ack.duplicate }
  } catch (error) {
    const failure = NatsFailure.of(error)
    const { reason } = failure
    if (failure._tag === "Unknown") return { _tag: "Unknown", reason }
    if (failure._tag !== "Api") return { _tag: "Failed", reason, mayPass: NatsFailure.mayPass(failure), isFull: false }
    if (failure.code === NatsFailure.codes.wrongLastSequence) return { _tag: "Conflict" }
    if (isFull(failure)) return { _tag: "Failed", reason, mayPass: false, isFull: true }
    // A store that fails for another reason may have written it all the same.
    if (failure.code === NatsFailure.codes.storeFailed) return { _tag: "Unknown", reason }
    return { _tag: "Failed", reason, mayPass: NatsFailure.mayPass(failure) || isStillOpen(failure), isFull: false }
  }
}

const openCodes: ReadonlyArray<number> = [
  NatsFailure.codes.wrongLastSequenceUnknown,
  NatsFailure.codes.duplicateInProcess,
  NatsFailure.codes.subjectSequenceNotReady
]

/** This one, or another with the same expectation, is on its way through the cluster: soon it is decided. */
const isStillOpen = ({ code }: { readonly code: number }): boolean => openCodes.includes(code)

/** No room in the stream or the account: it passes when something is truncated. */
const isFull = ({ reason }: { readonly reason: string }): boolean =>
  /maximum .*exceeded|resource limits exceeded/.test(reason)
