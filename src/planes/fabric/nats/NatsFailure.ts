/**
 * What an error of the NATS client means for what was asked: it did not happen, the server said no, or nobody knows.
 *
 * Law: an error that is not known for certain is `Unknown`.
 *
 * @module
 */
import { JetStreamApiError } from "@nats-io/jetstream"
import { errors } from "@nats-io/transport-node"
import { NatsFailureError } from "./NatsFailureError.ts"

export type NatsFailure =
  /** The server answered with an error: it did not happen. `code`: its own number. */
  | { readonly _tag: "Api"; readonly code: number; readonly status: number; readonly reason: string }
  /** It reached nobody who could do it. */
  | { readonly _tag: "Unreached"; readonly reason: string }
  /** It will not happen however often it is asked. */
  | { readonly _tag: "Refused"; readonly reason: string }
  | { readonly _tag: "Unknown"; readonly reason: string }

/** Numbers of the server's errors that are told apart here. */
export const codes = {
  consumerNotFound: 10014,
  messageNotFound: 10037,
  streamNotFound: 10059,
  wrongLastSequence: 10071,
  storeFailed: 10077,
  duplicateInProcess: 10158,
  subjectSequenceNotReady: 10163,
  wrongLastSequenceUnknown: 10164
} as const

export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** The client does not give its class away. */
const isNotEnabled = (error: unknown): boolean => error instanceof Error && error.name === "JetStreamNotEnabled"

export const of = (error: unknown): NatsFailure => {
  if (error instanceof NatsFailureError) return error.failure
  const reason = reasonOf(error)
  if (error instanceof JetStreamApiError) {
    return { _tag: "Api", code: error.code, status: error.status, reason }
  }
  if (isNotEnabled(error) || error instanceof errors.NoRespondersError) {
    return { _tag: "Unreached", reason: `no server does this now (${reason})` }
  }
  if (error instanceof errors.RequestError && error.isNoResponders()) {
    return { _tag: "Unreached", reason: "no server does this now (no responders)" }
  }
  if (
    error instanceof errors.PermissionViolationError ||
    error instanceof errors.InvalidArgumentError ||
    error instanceof errors.InvalidSubjectError
  ) {
    return { _tag: "Refused", reason }
  }
  return isOwn(error) ? { _tag: "Refused", reason } : { _tag: "Unknown", reason }
}

/** Something that Millrace found out itself, and that will be the same when it is asked again. */
const isOwn = (error: unknown): boolean => error instanceof Error && "_tag" in error

/** Trying again can help. */
export const mayPass = (failure: NatsFailure): boolean =>
  failure._tag === "Unreached" || failure._tag === "Unknown" || (failure._tag === "Api" && failure.status === 503)
