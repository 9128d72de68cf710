/**
 * What the control API asks the running platform for. Whoever composes the planes provides these.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { LogLine } from "../../backends/ComputeBackend.ts"
import type { DeadLetterDirectory } from "../invocation/DeadLetterDirectory.ts"
import type { RequestDirectory } from "../invocation/RequestDirectory.ts"
import type { ControlView } from "./ControlView.ts"

export class RequestsSource extends Context.Service<RequestsSource, RequestDirectory>()(
  "millrace/planes/control/RequestsSource"
) {}

export class DeadLettersSource extends Context.Service<DeadLettersSource, DeadLetterDirectory>()(
  "millrace/planes/control/DeadLettersSource"
) {}

export class InstancesSource extends Context.Service<InstancesSource, ControlView>()(
  "millrace/planes/control/InstancesSource"
) {}

/** Output of instances, wherever they run. */
export class LogsSource extends Context.Service<
  LogsSource,
  {
    /** The kept tail, oldest first; empty when nothing is known of the instance. */
    readonly logs: (instanceId: string) => Effect.Effect<ReadonlyArray<LogLine>>
    /** New lines of any instance until the scope closes. */
    readonly followLogs: (
      onLine: (instanceId: string, line: LogLine) => void
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("millrace/planes/control/LogsSource") {}
