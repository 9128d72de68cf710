/**
 * The side that is asked: says that it is there, and answers questions.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { PubSub } from "../fabric/PubSub.ts"
import {
  type Answer,
  type AnswerPart,
  type Hello,
  helloMs,
  partLengthMax,
  Question,
  type Route,
  subjects
} from "./PeerMessage.ts"

/** A route with what answers it. */
export interface Handler {
  readonly name: string
  readonly answer: (body: unknown) => Effect.Effect<Answer>
}

/** Questions that are being answered at a time; more are not heard, and the asker's deadline tells. */
const runningMax = 256

const decodeQuestion = Schema.decodeUnknownResult(Schema.fromJsonString(Question))
const decoder = new TextDecoder()
const encoder = new TextEncoder()

export const handler = <Q, A, E>(
  { name, question, answer, error }: Route<Q, A, E>,
  act: (question: Q) => Effect.Effect<A, E>
): Handler => {
  const decode = Schema.decodeUnknownResult(question)
  const encode = Schema.encodeUnknownResult(answer)
  const encodeError = Schema.encodeUnknownResult(error)
  const broken = (reason: string): Answer => ({ _tag: "Broken", reason: reason.slice(0, 1_000) })
  return {
    name,
    answer: (body) =>
      Effect.suspend(() => {
        const asked = decode(body)
        if (Result.isFailure(asked))
          return Effect.succeed(broken(`the question cannot be read: ${asked.failure.message}`))
        return Effect.map(Effect.exit(act(asked.success)), (exit): Answer => {
          if (Exit.isSuccess(exit)) {
            const value = encode(exit.value)
            return Result.isSuccess(value) ? { _tag: "Done", value: value.success } : broken(value.failure.message)
          }
          const failure = Cause.findErrorOption(exit.cause)
          if (Option.isNone(failure)) return broken(Cause.pretty(exit.cause))
          const encoded = encodeError(failure.value)
          return Result.isSuccess(encoded)
            ? { _tag: "Failed", error: encoded.success }
            : broken(encoded.failure.message)
        })
      })
  }
}

/** Until the scope closes. `hello` is asked for each time, so that what it says is of that moment. */
export const serve = (
  hello: () => Omit<Hello, "isLeaving">,
  handlers: ReadonlyArray<Handler>
): Effect.Effect<void, never, PubSub | Scope.Scope> =>
  Effect.gen(function* () {
    const pubSub = yield* PubSub
    const scope = yield* Effect.scope
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    const routes = new Map(handlers.map((one) => [one.name, one]))
    const { id, plane } = hello()
    const publish = (subject: string, message: unknown) =>
      pubSub.publish(subject, encoder.encode(JSON.stringify(message)))
    const say = (isLeaving: boolean) => publish(subjects.hello(plane), { ...hello(), isLeaving } satisfies Hello)
    let running = 0

    const send = (question: Question, answer: Answer) => {
      const whole = JSON.stringify(answer)
      const count = Math.max(1, Math.ceil(whole.length / partLengthMax))
      for (let part = 0; part < count; part++) {
        const message: AnswerPart = {
          question: question.id,
          from: id,
          part,
          isLast: part === count - 1,
          text: whole.slice(part * partLengthMax, (part + 1) * partLengthMax)
        }
        publish(subjects.answer(question.asker), message)
      }
    }

    yield* pubSub.subscribe(subjects.question(plane, id), (payload) => {
      const decoded = decodeQuestion(decoder.decode(payload))
      if (Result.isFailure(decoded) || running >= runningMax) return
      const question = decoded.success
      const unknownRoute: Answer = { _tag: "Broken", reason: `nothing answers ${question.route} here` }
      running += 1
      const answering = (routes.get(question.route)?.answer(question.body) ?? Effect.succeed(unknownRoute)).pipe(
        Effect.map((answer) => send(question, answer)),
        Effect.ensuring(Effect.sync(() => (running -= 1)))
      )
      Fiber.runIn(runFork(answering), scope)
    })
    yield* pubSub.subscribe(subjects.wanted, () => say(false))
    yield* Effect.addFinalizer(() => Effect.sync(() => say(true)))
    yield* Effect.sync(() => say(false)).pipe(Effect.repeat(Schedule.spaced(helloMs)), Effect.forkScoped)
  })
