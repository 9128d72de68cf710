/**
 * The control plane: the controller that scales, and the control API. The registry and the fabric are the caller's.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Controller from "./control/Controller.ts"
import * as ControlServer from "./control/ControlServer.ts"
import {
  DeadLettersSource,
  InstancesSource,
  type Letters,
  LogsSource,
  type Requests,
  RequestsSource
} from "./control/ControlSources.ts"
import { defaultTenant, Registry } from "./control/Registry.ts"
import * as RemoteSources from "./control/RemoteSources.ts"
import type { PubSub } from "./fabric/PubSub.ts"
import type { WorkQueue } from "./fabric/WorkQueue.ts"
import type { CannotListen } from "./Port.ts"
import * as Asking from "./peer/Asking.ts"
import * as PeerBook from "./peer/PeerBook.ts"

/** What the API asks of the other planes. */
export interface Sources {
  readonly requests: Requests
  readonly deadLetters: Letters
  readonly logs: LogsSource["Service"]
}

export interface ControlPlane {
  readonly control: Controller.Controller
  /** Serves the control API over these sources. */
  readonly listen: (
    options: ControlServer.Options,
    sources: Sources
  ) => Effect.Effect<ControlServer.Listening, ControlServer.AddressNotLocal | CannotListen, Registry | Scope.Scope>
}

/** Scales from now on. */
export const open = (
  options: Omit<Controller.ControllerOptions, "routes" | "versionIds">
): Effect.Effect<ControlPlane, never, Registry | WorkQueue | PubSub | Scope.Scope> =>
  Effect.gen(function* () {
    const routes = (yield* Registry).routing(defaultTenant)
    const control = yield* Controller.make({ ...options, routes, versionIds: routes.deployedVersionIds() })
    return {
      control,
      listen: (server, { requests, deadLetters, logs }) =>
        ControlServer.listen(server).pipe(
          Effect.provideService(RequestsSource, requests),
          Effect.provideService(DeadLettersSource, deadLetters),
          Effect.provideService(InstancesSource, control),
          Effect.provideService(LogsSource, logs)
        )
    }
  })

/** Of planes in other processes. */
export const remoteSources = (control: Controller.Controller): Effect.Effect<Sources, never, PubSub | Scope.Scope> =>
  Effect.gen(function* () {
    const asker = yield* Asking.make
    const planes = yield* PeerBook.make("invocation")
    const agents = yield* PeerBook.make("agent")
    const clusterOf = (instanceId: string) => control.instance(instanceId)?.cluster
    return {
      requests: RemoteSources.requests(asker, planes),
      deadLetters: RemoteSources.letters(asker, planes),
      logs: yield* RemoteSources.logs({ asker, agents, clusterOf })
    }
  })
