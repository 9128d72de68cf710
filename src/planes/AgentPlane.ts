/**
 * The agent of one cluster with its backend, which the caller provides. It signs the tokens of the workers that it starts.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ComputeBackend } from "../backends/ComputeBackend.ts"
import * as Agent from "./compute/Agent.ts"
import * as AgentQuestions from "./compute/AgentQuestions.ts"
import type { FabricUnavailable } from "./fabric/FabricError.ts"
import type { PubSub } from "./fabric/PubSub.ts"
import type { WorkQueue } from "./fabric/WorkQueue.ts"
import * as PlaneClock from "./invocation/PlaneClock.ts"
import * as WorkerToken from "./invocation/WorkerToken.ts"
import * as Answering from "./peer/Answering.ts"
import * as Rehearsal from "./Rehearsal.ts"

export interface AgentOptions extends Omit<Agent.Options, "workerToken"> {
  readonly workerSecret: Uint8Array
  readonly workerTokenLifetimeMs: number
}

export interface AgentPlane {
  readonly agent: Agent.Agent["Service"]
  /** Says to other processes that it is there, answers what they ask, and publishes logs that are wanted. */
  readonly answer: Effect.Effect<void, never, PubSub | Scope.Scope>
}

/** Takes orders when it succeeds. */
export const open = (
  options: AgentOptions
): Effect.Effect<AgentPlane, FabricUnavailable, ComputeBackend | WorkQueue | PubSub | Scope.Scope> =>
  Effect.map(
    Agent.make({
      ...options,
      workerToken: (create) =>
        WorkerToken.issue(options.workerSecret, {
          instanceId: create.instanceId,
          functionId: create.functionId,
          versionId: create.versionId,
          expiresAtMs: PlaneClock.nowMs() + options.workerTokenLifetimeMs
        })
    }),
    (agent) => {
      Rehearsal.order(options.workerSecret)
      const id = randomUUID()
      return {
        agent,
        answer: Effect.andThen(
          AgentQuestions.publishLines(agent),
          Answering.serve(() => ({ plane: "agent", id, cluster: agent.cluster }), AgentQuestions.handlers(agent))
        )
      }
    }
  )
