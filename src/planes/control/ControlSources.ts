/**
 * What the control API asks the other planes for. Whoever composes the planes provides these: from the same process, or
 * over pub/sub (`RemoteSources`), where a plane that is away is `PeerUnavailable`.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { LogLine } from "../../backends/ComputeBackend.ts"
import type { DeadLetterDirectory, DeadLetterFilter } from "../invocation/DeadLetterDirectory.ts"
import type { BacklogFigures, RequestDirectory, RequestFilter, RequestView } from "../invocation/RequestDirectory.ts"
import type { PeerUnavailable } from "../peer/PeerUnavailable.ts"
import type { ClusterOrders } from "./ClusterOrders.ts"
import type { ControlView } from "./ControlView.ts"

type Asked<A> = Effect.Effect<A, PeerUnavailable>

/** `RequestDirectory` of all invocation planes together. */
export interface Requests {
  readonly list: (filter: RequestFilter) => Asked<ReadonlyArray<RequestView>>
  readonly get: (requestId: string) => Asked<RequestView | undefined>
  readonly cancel: (requestId: string) => Asked<"cancelled" | "ended" | "unknown">
  readonly backlog: Asked<ReadonlyArray<BacklogFigures>>
  readonly staleMessagesRefused: Asked<number>
}

export class RequestsSource extends Context.Service<RequestsSource, Requests>()(
  "millrace/planes/control/RequestsSource"
) {}

type OrAway<F> = F extends (...given: infer Given) => Effect.Effect<infer A, infer E>
  ? (...given: Given) => Effect.Effect<A, E | PeerUnavailable>
  : never

/** `DeadLetterDirectory` of all invocation planes together. */
export interface Letters {
  readonly list: (filter: DeadLetterFilter) => Asked<ReturnType<DeadLetterDirectory["list"]>>
  readonly get: OrAway<DeadLetterDirectory["get"]>
  readonly replay: OrAway<DeadLetterDirectory["replay"]>
  readonly drop: OrAway<DeadLetterDirectory["drop"]>
}

export class DeadLettersSource extends Context.Service<DeadLettersSource, Letters>()(
  "millrace/planes/control/DeadLettersSource"
) {}

export class InstancesSource extends Context.Service<InstancesSource, ControlView>()(
  "millrace/planes/control/InstancesSource"
) {}

/** What operators say about clusters. */
export class ClusterOrdersSource extends Context.Service<ClusterOrdersSource, ClusterOrders>()(
  "millrace/planes/control/ClusterOrdersSource"
) {}

/** Output of instances, wherever they run. */
export class LogsSource extends Context.Service<
  LogsSource,
  {
    /** The kept tail, oldest first; empty when nothing is known of the instance. */
    readonly logs: (instanceId: string) => Asked<ReadonlyArray<LogLine>>
    /** New lines of any instance until the scope closes. */
    readonly followLogs: (
      onLine: (instanceId: string, line: LogLine) => void
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("millrace/planes/control/LogsSource") {}

/** Of the invocation plane in this process. */
export const requestsOf = (directory: RequestDirectory): Requests => ({
  list: (filter) => Effect.sync(() => directory.list(filter)),
  get: (requestId) => Effect.sync(() => directory.get(requestId)),
  cancel: (requestId) => Effect.sync(() => directory.cancel(requestId)),
  backlog: Effect.sync(directory.backlog),
  staleMessagesRefused: Effect.sync(directory.staleMessagesRefused)
})

/** Of the invocation plane in this process. */
export const lettersOf = ({ list, get, replay, drop }: DeadLetterDirectory): Letters => ({
  list: (filter) => Effect.sync(() => list(filter)),
  get,
  replay,
  drop
})
