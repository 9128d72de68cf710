/**
 * Which peers of one kind are there: heard of within the last seconds, and not leaving.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { PubSub } from "../fabric/PubSub.ts"
import { Hello, type PlaneName, silentAfterMs, subjects } from "./PeerMessage.ts"

export interface PeerBook {
  readonly plane: PlaneName
  /** In order of id. */
  readonly present: () => ReadonlyArray<Hello>
  /** Those that are there; when there is none, those that come within `waitMs`. */
  readonly within: (waitMs: number) => Effect.Effect<ReadonlyArray<Hello>>
}

/** Far more than planes of one kind; beyond it the one heard longest ago is forgotten. */
const peersMax = 10_000

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Hello))
const text = new TextDecoder()

export const make = (plane: PlaneName): Effect.Effect<PeerBook, never, PubSub | Scope.Scope> =>
  Effect.gen(function* () {
    const pubSub = yield* PubSub
    const heard = new Map<string, { readonly hello: Hello; readonly atMs: number }>()
    const waiting = new Set<() => void>()
    yield* pubSub.subscribe(subjects.hello(plane), (payload) => {
      const hello = decode(text.decode(payload))
      if (Result.isFailure(hello)) return
      const { id, isLeaving } = hello.success
      heard.delete(id)
      if (isLeaving) return
      heard.set(id, { hello: hello.success, atMs: performance.now() })
      for (const oldest of heard.keys()) {
        if (heard.size <= peersMax) break
        heard.delete(oldest)
      }
      for (const tell of waiting) tell()
    })
    pubSub.publish(subjects.wanted, new Uint8Array())

    const present = () => {
      const sinceMs = performance.now() - silentAfterMs
      for (const [id, { atMs }] of heard) if (atMs < sinceMs) heard.delete(id)
      return [...heard.values()].map(({ hello }) => hello).sort((left, right) => (left.id < right.id ? -1 : 1))
    }

    const someone = Effect.callback<void>((resume) => {
      const tell = () => {
        waiting.delete(tell)
        resume(Effect.void)
      }
      waiting.add(tell)
      return Effect.sync(() => waiting.delete(tell))
    })

    return {
      plane,
      present,
      within: (waitMs) =>
        Effect.suspend(() => {
          const now = present()
          return now.length > 0 ? Effect.succeed(now) : someone.pipe(Effect.timeoutOption(waitMs), Effect.map(present))
        })
    }
  })
