/**
 * The control plane: the controller that scales, and the control API. The registry and the fabric are the caller's.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ClusterOrders from "./control/ClusterOrders.ts"
import * as Controller from "./control/Controller.ts"
import * as ControlServer from "./control/ControlServer.ts"
import {
  ClusterOrdersSource,
  DeadLettersSource,
  InstancesSource,
  type Letters,
  LogsSource,
  type Requests,
  RequestsSource
} from "./control/ControlSources.ts"
import * as Leadership from "./control/Leadership.ts"
import { defaultTenant, Registry } from "./control/Registry.ts"
import * as RemoteSources from "./control/RemoteSources.ts"
import type { FabricUnavailable } from "./fabric/FabricError.ts"
import type { KeyValue } from "./fabric/KeyValue.ts"
import type { PubSub } from "./fabric/PubSub.ts"
import type { WorkQueue } from "./fabric/WorkQueue.ts"
import * as LeaseKeeper from "./LeaseKeeper.ts"
import type { CannotListen } from "./Port.ts"
import * as Asking from "./peer/Asking.ts"
import * as PeerBook from "./peer/PeerBook.ts"
import * as Rehearsal from "./Rehearsal.ts"

/** What the API asks of the other planes. */
export interface Sources {
  readonly requests: Requests
  readonly deadLetters: Letters
  readonly logs: LogsSource["Service"]
}

export interface ControlPlane {
  readonly control: Controller.Controller
  /** Why nobody leads, as far as this copy knows; undefined = somebody does. */
  readonly leaderless: () => string | undefined
  /** Serves the control API over these sources. */
  readonly listen: (
    options: ControlServer.Options,
    sources: Sources
  ) => Effect.Effect<ControlServer.Listening, ControlServer.AddressNotLocal | CannotListen, Registry | Scope.Scope>
}

export interface Options extends Omit<Controller.ControllerOptions, "routes" | "leadership"> {
  /**
   * There may be several copies: the one that has the lease acts, the others follow what happens. Told when this one
   * begins and ceases to lead. Absent: this one is alone.
   */
  readonly onLeader?:
    | ((event: { readonly leads: boolean; readonly epoch: number; readonly reason: string }) => void)
    | undefined
}

/** Scales from now on, or from when it leads. */
export const open = ({
  onLeader,
  ...options
}: Options): Effect.Effect<ControlPlane, FabricUnavailable, Registry | KeyValue | WorkQueue | PubSub | Scope.Scope> =>
  Effect.gen(function* () {
    Rehearsal.decision()
    const routes = (yield* Registry).routing(defaultTenant)
    let lease: LeaseKeeper.LeaseKeeper | undefined
    const control = yield* Controller.make({
      ...options,
      ...(onLeader === undefined ? {} : { leadership: { epoch: () => lease?.epoch() } }),
      routes
    })
    if (onLeader !== undefined) {
      lease = yield* LeaseKeeper.make({
        key: Leadership.key,
        ...Leadership.timing,
        onGained: (epoch) => {
          onLeader({ leads: true, epoch, reason: "the lease was free" })
          control.lead()
        },
        onLost: (epoch, reason) => onLeader({ leads: false, epoch, reason })
      })
    }
    const clusterOrders = yield* ClusterOrders.make((cluster, order) => void control.setCluster(cluster, order))
    return {
      control,
      leaderless: () =>
        lease === undefined || lease.isHeld()
          ? undefined
          : "no copy of the control plane has renewed the leadership lately",
      listen: (server, { requests, deadLetters, logs }) =>
        ControlServer.listen(server).pipe(
          Effect.provideService(RequestsSource, requests),
          Effect.provideService(DeadLettersSource, deadLetters),
          Effect.provideService(InstancesSource, control),
          Effect.provideService(ClusterOrdersSource, clusterOrders),
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
