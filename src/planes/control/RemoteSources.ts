/**
 * What the control API asks other processes for, over pub/sub.
 *
 * Each question goes to every invocation plane that is there, because any of them may own the shard in question: one that
 * is silent makes the answer unknown (`PeerUnavailable`), and never "there is no such request".
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AgentQuestions from "../compute/AgentQuestions.ts"
import { PubSub } from "../fabric/PubSub.ts"
import * as Questions from "../invocation/InvocationQuestions.ts"
import type * as Asking from "../peer/Asking.ts"
import type { PeerBook } from "../peer/PeerBook.ts"
import type { Route } from "../peer/PeerMessage.ts"
import { PeerUnavailable } from "../peer/PeerUnavailable.ts"
import { DeadLetterNotFound } from "./ControlErrors.ts"
import type { Letters, LogsSource, Requests } from "./ControlSources.ts"

const successes = <A, E>(answers: ReadonlyArray<Result.Result<A, E>>): ReadonlyArray<A> =>
  answers.flatMap((answer) => (Result.isSuccess(answer) ? [answer.success] : []))

export const requests = (asker: Asking.Asker, planes: PeerBook): Requests => {
  const ask = <Q, A>(route: Route<Q, A, never>, question: Q) =>
    Effect.map(asker.all(planes, route, question), successes)
  return {
    list: (filter) =>
      Effect.map(ask(Questions.listRequests, filter), (lists) =>
        lists
          .flat()
          .sort((left, right) => right.arrivedAtMs - left.arrivedAtMs)
          .slice(0, filter.limit)
      ),
    get: (requestId) =>
      Effect.map(ask(Questions.getRequest, { requestId }), (found) => found.find((view) => view !== null) ?? undefined),
    cancel: (requestId) =>
      Effect.map(
        ask(Questions.cancelRequest, { requestId }),
        (outcomes) => outcomes.find((outcome) => outcome !== "unknown") ?? "unknown"
      ),
    backlog: Effect.map(ask(Questions.backlog, {}), (figures) => figures.flat()),
    staleMessagesRefused: Effect.map(ask(Questions.staleMessages, {}), (counts) =>
      counts.reduce((sum, count) => sum + count, 0)
    )
  }
}

export const letters = (asker: Asking.Asker, planes: PeerBook): Letters => {
  /** The one that has the letter speaks for all. */
  const ofOwner = <Q extends { readonly requestId: string }, A, E>(
    route: Route<Q, A, E | DeadLetterNotFound>,
    question: Q
  ): Effect.Effect<A, E | DeadLetterNotFound | PeerUnavailable> =>
    Effect.flatMap(asker.all(planes, route, question), (answers): Effect.Effect<A, E | DeadLetterNotFound> => {
      const own = answers.find((answer) => Result.isSuccess(answer) || !(answer.failure instanceof DeadLetterNotFound))
      return own === undefined
        ? Effect.fail(new DeadLetterNotFound({ requestId: question.requestId }))
        : Effect.fromResult(own)
    })
  return {
    list: (filter) =>
      Effect.map(asker.all(planes, Questions.listDeadLetters, filter), (answers) => {
        const pages = successes(answers)
        const all = pages
          .flatMap(({ items }) => items)
          .sort((left, right) => right.deadAtMs - left.deadAtMs || (left.requestId < right.requestId ? 1 : -1))
        const items = all.slice(0, filter.limit)
        const isMore = all.length > items.length || pages.some(({ next }) => next !== null)
        const last = items.at(-1)
        return { items, next: isMore && last !== undefined ? `${last.deadAtMs}.${last.requestId}` : null }
      }),
    get: (tenant, requestId) => ofOwner(Questions.getDeadLetter, { tenant, requestId }),
    replay: (tenant, requestId, versionId) =>
      ofOwner(Questions.replayDeadLetter, { tenant, requestId, ...(versionId === undefined ? {} : { versionId }) }),
    drop: (tenant, requestId) => Effect.asVoid(ofOwner(Questions.dropDeadLetter, { tenant, requestId }))
  }
}

const decodeLine = Schema.decodeUnknownResult(Schema.fromJsonString(AgentQuestions.LogMessage))
const decoder = new TextDecoder()

/** `clusterOf`: where an instance runs, or ran; undefined = nobody knows it, and its log is empty. */
export const logs = (options: {
  readonly asker: Asking.Asker
  readonly agents: PeerBook
  readonly clusterOf: (instanceId: string) => string | undefined
}): Effect.Effect<LogsSource["Service"], never, PubSub> =>
  Effect.gen(function* () {
    const pubSub = yield* PubSub
    const { asker, agents, clusterOf } = options
    const wanted = Effect.sync(() => pubSub.publish(AgentQuestions.followWanted, new Uint8Array()))
    return {
      logs: (instanceId) =>
        Effect.suspend(() => {
          const cluster = clusterOf(instanceId)
          if (cluster === undefined) return Effect.succeed([])
          const what = `agent of cluster ${cluster}`
          const agent = agents.present().findLast((hello) => hello.cluster === cluster)
          return agent === undefined
            ? Effect.fail(new PeerUnavailable({ peer: what, reason: "it has not been heard of lately" }))
            : asker.one({ plane: "agent", id: agent.id, what }, AgentQuestions.logs, { instanceId })
        }),
      followLogs: (onLine) =>
        Effect.gen(function* () {
          yield* pubSub.subscribe(AgentQuestions.lines("*"), (payload) => {
            const decoded = decodeLine(decoder.decode(payload))
            if (Result.isFailure(decoded)) return
            const { instanceId, line } = decoded.success
            onLine(instanceId, line)
          })
          yield* wanted
          yield* wanted.pipe(Effect.delay(AgentQuestions.followAgainMs), Effect.forever, Effect.forkScoped)
        })
    }
  })
