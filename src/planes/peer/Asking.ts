/**
 * The side that asks: one question to every peer that is there, answers by a deadline.
 *
 * A1 an answer is whole or it is none. A2 a peer that does not answer in time fails the question: what it would have said
 * is not taken for nothing. A3 nothing is kept of a question whose time is over.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { PubSub } from "../fabric/PubSub.ts"
import type { PeerBook } from "./PeerBook.ts"
import { Answer, AnswerPart, type PlaneName, type Question, type Route, subjects } from "./PeerMessage.ts"
import { PeerUnavailable } from "./PeerUnavailable.ts"

export interface Asker {
  /** What one peer answers. `what` names it for people. */
  readonly one: <Q, A, E>(
    peer: { readonly plane: PlaneName; readonly id: string; readonly what: string },
    route: Route<Q, A, E>,
    question: Q
  ) => Effect.Effect<A, E | PeerUnavailable>
  /** What all that are there answer, each its success or its failure; fails when there is nobody, or one is silent. */
  readonly all: <Q, A, E>(
    peers: PeerBook,
    route: Route<Q, A, E>,
    question: Q
  ) => Effect.Effect<ReadonlyArray<Result.Result<A, E>>, PeerUnavailable>
}

/** Longer than any honest answer takes, shorter than callers of the control API wait. */
const deadlineMs = 3_000
/** A plane that starts together with its peers hears of them within a second. */
const someoneMs = 1_500
/** Together about the memory that a list of everything takes. */
const partsMax = 1_000
const pendingMax = 10_000

const decodePart = Schema.decodeUnknownResult(Schema.fromJsonString(AnswerPart))
const decodeAnswer = Schema.decodeUnknownResult(Schema.fromJsonString(Answer))
const decoder = new TextDecoder()
const encoder = new TextEncoder()

interface Pending {
  readonly texts: Array<string>
  readonly done: (text: string) => void
}

const nameOf = { invocation: "invocation plane", agent: "agent" } as const satisfies Record<PlaneName, string>

export const make: Effect.Effect<Asker, never, PubSub | Scope.Scope> = Effect.gen(function* () {
  const pubSub = yield* PubSub
  const me = randomUUID()
  const pending = new Map<string, Pending>()

  yield* pubSub.subscribe(subjects.answer(me), (payload) => {
    const decoded = decodePart(decoder.decode(payload))
    if (Result.isFailure(decoded)) return
    const { question, part, isLast, text } = decoded.success
    const waiting = pending.get(question)
    // A1: one that is missing makes the rest worthless, and the deadline tells.
    if (waiting === undefined || part !== waiting.texts.length || part >= partsMax) return
    waiting.texts.push(text)
    if (isLast) waiting.done(waiting.texts.join(""))
  })

  const send = (plane: PlaneName, id: string, question: Omit<Question, "id" | "asker">) =>
    Effect.callback<string>((resume) => {
      if (pending.size >= pendingMax) return
      const questionId = randomUUID()
      pending.set(questionId, { texts: [], done: (text) => resume(Effect.succeed(text)) })
      const message: Question = { id: questionId, asker: me, ...question }
      pubSub.publish(subjects.question(plane, id), encoder.encode(JSON.stringify(message)))
      return Effect.sync(() => pending.delete(questionId))
    }).pipe(Effect.timeoutOption(deadlineMs))

  const one: Asker["one"] = (peer, route, question) =>
    Effect.gen(function* () {
      const unavailable = (reason: string) => new PeerUnavailable({ peer: peer.what, reason })
      const body = yield* Effect.mapError(Schema.encodeUnknownEffect(route.question)(question), ({ message }) =>
        unavailable(message)
      )
      const text = yield* send(peer.plane, peer.id, { route: route.name, body })
      if (text._tag === "None") return yield* unavailable(`it did not answer ${route.name} within ${deadlineMs} ms`)
      const answer = decodeAnswer(text.value)
      if (Result.isFailure(answer)) return yield* unavailable(`its answer cannot be read: ${answer.failure.message}`)
      switch (answer.success._tag) {
        case "Done":
          return yield* Effect.mapError(Schema.decodeUnknownEffect(route.answer)(answer.success.value), ({ message }) =>
            unavailable(`its answer cannot be read: ${message}`)
          )
        case "Failed": {
          const error = yield* Effect.mapError(
            Schema.decodeUnknownEffect(route.error)(answer.success.error),
            ({ message }) => unavailable(`its refusal cannot be read: ${message}`)
          )
          return yield* Effect.fail(error)
        }
        case "Broken":
          return yield* unavailable(answer.success.reason)
      }
    })

  const all = <Q, A, E>(
    peers: PeerBook,
    route: Route<Q, A, E>,
    question: Q
  ): Effect.Effect<ReadonlyArray<Result.Result<A, E>>, PeerUnavailable> =>
    Effect.gen(function* () {
      const what = nameOf[peers.plane]
      const present = yield* peers.within(someoneMs)
      if (present.length === 0)
        return yield* new PeerUnavailable({ peer: what, reason: "none has been heard of lately" })
      return yield* Effect.forEach(
        present,
        ({ id }) =>
          one({ plane: peers.plane, id, what }, route, question).pipe(
            Effect.map((answer): Result.Result<A, E> => Result.succeed(answer)),
            Effect.catch((error) =>
              error instanceof PeerUnavailable ? Effect.fail(error) : Effect.succeed(Result.fail<E>(error))
            )
          ),
        { concurrency: "unbounded" }
      )
    })

  return { one, all }
})
