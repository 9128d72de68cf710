/**
 * What planes say to each other beside demand, orders and reports: that they are there, and questions with answers. All
 * of it over pub/sub, as JSON; nothing here is worth anything a few seconds later.
 *
 * @module
 */
import * as Schema from "effect/Schema"

export const PlaneName = Schema.Literals(["invocation", "agent"])
export type PlaneName = typeof PlaneName.Type

/** Said by each plane every `helloMs`, at its start, and whenever somebody asks who is there. */
export const Hello = Schema.Struct({
  plane: PlaneName,
  /** Of this life of the process. */
  id: Schema.String,
  /** It is going away: ask it no more. */
  isLeaving: Schema.Boolean,
  /** Of an agent. */
  cluster: Schema.optionalKey(Schema.String),
  /** Of an invocation plane: where workers connect. */
  workerUrl: Schema.optionalKey(Schema.String)
})
export type Hello = typeof Hello.Type

export const helloMs = 1_000
/** Three of them missed: it is not asked any more. */
export const silentAfterMs = 3_500

/** An answer that does not fit into one message comes in parts. Kept far below what servers take as one message. */
export const partLengthMax = 128 * 1024

export const Question = Schema.Struct({
  id: Schema.String,
  /** Who asks. */
  asker: Schema.String,
  route: Schema.String,
  body: Schema.Unknown
})
export type Question = typeof Question.Type

export const AnswerPart = Schema.Struct({
  question: Schema.String,
  /** Which peer. */
  from: Schema.String,
  /** From 0. */
  part: Schema.Int,
  isLast: Schema.Boolean,
  /** The parts joined are the JSON of an `Answer`. */
  text: Schema.String
})
export type AnswerPart = typeof AnswerPart.Type

export const Answer = Schema.Union([
  Schema.TaggedStruct("Done", { value: Schema.Unknown }),
  Schema.TaggedStruct("Failed", { error: Schema.Unknown }),
  /** The question could not be read, or answering it broke. */
  Schema.TaggedStruct("Broken", { reason: Schema.String })
])
export type Answer = typeof Answer.Type

export const subjects = {
  hello: (plane: PlaneName) => `peer.hello.${plane}`,
  /** Whoever hears it says hello now. */
  wanted: "peer.wanted",
  question: (plane: PlaneName, id: string) => `peer.question.${plane}.${id}`,
  answer: (asker: string) => `peer.answer.${asker}`
} as const

/** What can be asked, what is answered and what can be refused: the schemas are the wire. */
export interface Route<Q, A, E> {
  readonly name: string
  readonly question: Schema.Codec<Q, unknown>
  readonly answer: Schema.Codec<A, unknown>
  readonly error: Schema.Codec<E, unknown>
}

export const route = <Q, A, E>(given: Route<Q, A, E>): Route<Q, A, E> => given
