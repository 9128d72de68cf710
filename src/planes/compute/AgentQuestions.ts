/**
 * What the control plane asks an agent, over pub/sub: the kept output of an instance, and new lines while somebody reads
 * them. Nothing is published while nobody does.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { PubSub } from "../fabric/PubSub.ts"
import { type Handler, handler } from "../peer/Answering.ts"
import { route } from "../peer/PeerMessage.ts"
import type { Agent } from "./Agent.ts"

const LogLine = Schema.Struct({
  atMs: Schema.Number,
  stream: Schema.Literals(["stdout", "stderr"]),
  text: Schema.String
})

export const logs = route({
  name: "logs",
  question: Schema.Struct({ instanceId: Schema.String }),
  answer: Schema.Array(LogLine),
  error: Schema.Never
})

export const LogMessage = Schema.Struct({ instanceId: Schema.String, line: LogLine })

/** New lines of the instances of a cluster. */
export const lines = (cluster: string) => `cluster.${cluster}.lines`
/** Somebody follows: said again by each reader every `followAgainMs`. */
export const followWanted = "cluster.lines-wanted"
export const followAgainMs = 2_000
/** Two of them may get lost. */
const followedMs = 3 * followAgainMs + 1_000

export const handlers = (agent: Agent["Service"]): ReadonlyArray<Handler> => [
  handler(logs, ({ instanceId }) => agent.logs(instanceId))
]

/** Publishes new lines while somebody wants them, until the scope closes. */
export const publishLines = (agent: Agent["Service"]): Effect.Effect<void, never, PubSub | Scope.Scope> =>
  Effect.gen(function* () {
    const pubSub = yield* PubSub
    const encoder = new TextEncoder()
    let wantedUntilMs = 0
    yield* pubSub.subscribe(followWanted, () => {
      wantedUntilMs = performance.now() + followedMs
    })
    yield* agent.followLogs((instanceId, line) => {
      if (performance.now() > wantedUntilMs) return
      const message: typeof LogMessage.Type = { instanceId, line }
      pubSub.publish(lines(agent.cluster), encoder.encode(JSON.stringify(message)))
    })
  })
