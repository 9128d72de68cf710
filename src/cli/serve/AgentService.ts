/** `millrace serve agent`: the agent of one cluster and its backend. @module */
import { accessSync, constants } from "node:fs"
import { resolve } from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ComputeBackend } from "../../backends/ComputeBackend.ts"
import * as AgentPlane from "../../planes/AgentPlane.ts"
import * as Leadership from "../../planes/control/Leadership.ts"
import * as LeaseKeeper from "../../planes/LeaseKeeper.ts"
import * as PeerBook from "../../planes/peer/PeerBook.ts"
import * as WorkerSecret from "../../planes/WorkerSecret.ts"
import * as BackendChoice from "../backend/BackendChoice.ts"
import { CommandFailed } from "../Command.ts"
import * as AgentBackend from "../config/AgentBackend.ts"
import * as EventLines from "../dev/EventLines.ts"
import * as Service from "./Service.ts"

/** Addresses of gateways that an instance is told. */
const workerUrlsMax = 8

/** One agent acts for a cluster; another one takes over so long after it was last heard of. */
const clusterLease = { ttlMs: 6_000, renewMs: 1_500, marginMs: 1_000 }

/** Its instances are not counted any more: it ends, and whoever started it may start it again to stand by. */
export class AgentReplaced extends Schema.TaggedError<AgentReplaced>()("AgentReplaced", {
  cluster: Schema.String,
  epoch: Schema.Int
}) {
  override get message() {
    return (
      `another agent (epoch ${this.epoch}) acts for cluster ${this.cluster} now, so this one ends. Two at a time are fine ` +
      "as one that acts and one that stands by; give each cluster a name of its own (agent.cluster)"
    )
  }
}

/** Before the backend looks for it: whoever wrote the setting is told of the setting. */
const checkKubeconfig = (path: string | undefined) => {
  if (path === undefined) return
  try {
    accessSync(path, constants.R_OK)
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error)
    throw new CommandFailed({
      kind: "configuration",
      message: `agent.kubeconfig: ${path} cannot be read (${code}): name a file, or leave it out to use KUBECONFIG`
    })
  }
}

export const service = ({ config, check, ready }: Service.Running) => {
  const { agent } = config
  const state = resolve(config.state)
  const choice = AgentBackend.choiceOf(config)
  if (choice.kind === "kubernetes") checkKubeconfig(choice.kubeconfig)
  return Effect.gen(function* () {
    const backend = yield* ComputeBackend
    const planes = yield* PeerBook.make("invocation")
    const socket = BackendChoice.workerSocketOf(choice, state)
    const fixed = agent.workerUrl ?? (socket === undefined ? undefined : `unix:${socket}`)
    // All that are there: the one that an instance asked first may be the one that is killed.
    const announced = () => {
      const urls = planes.present().flatMap(({ workerUrl }) => (workerUrl === undefined ? [] : [workerUrl]))
      return urls.length === 0 ? undefined : urls.slice(0, workerUrlsMax).join(",")
    }
    const workerUrl = () => fixed ?? announced()
    const gained = yield* Deferred.make<void>()
    const taken = yield* Deferred.make<never, AgentReplaced>()
    check({
      name: "cluster",
      look: Effect.sync(() =>
        lease.epoch() === undefined
          ? `this agent does not act for cluster ${agent.cluster}: another one may`
          : undefined
      )
    })
    const lease = yield* LeaseKeeper.make({
      key: `cluster-agents/${agent.cluster}`,
      ...clusterLease,
      onGained: (epoch) => {
        EventLines.write({ event: "cluster", cluster: agent.cluster, acts: true, epoch, reason: "the lease was free" })
        Deferred.doneUnsafe(gained, Effect.void)
      },
      onLost: (epoch, reason) =>
        EventLines.write({ event: "cluster", cluster: agent.cluster, acts: false, epoch, reason }),
      onTaken: (epoch) =>
        void Deferred.doneUnsafe(taken, Effect.fail(new AgentReplaced({ cluster: agent.cluster, epoch })))
    })
    // Before that it takes no orders: they would wait here for the one that acts.
    yield* Deferred.await(gained)
    const plane = yield* AgentPlane.open({
      cluster: agent.cluster,
      site: {
        region: agent.region,
        ...(agent.group === undefined ? {} : { group: agent.group }),
        attributes: agent.attributes,
        compliance: agent.compliance
      },
      heartbeatMs: agent.heartbeatMs,
      shutdownMs: agent.shutdownMs,
      workerUrl,
      epoch: lease.epoch,
      leaderEpoch: yield* LeaseKeeper.follow(Leadership.key),
      workerSecret: yield* Service.workerSecret(config),
      workerTokenLifetimeMs: WorkerSecret.tokenLifetimeMs
    })
    yield* plane.answer
    check({
      name: "backend",
      look: Effect.match(backend.capacity, {
        onFailure: ({ message }) => message,
        onSuccess: () => undefined
      })
    })
    check({
      name: "workers",
      look: Effect.sync(() => {
        const url = workerUrl()
        if (url === undefined) return "no invocation plane has been heard of: instances cannot connect anywhere"
        return fixed === undefined ? AgentBackend.whyUnreachable(config, url) : undefined
      })
    })
    ready({ cluster: agent.cluster, backend: backend.abilities.name, isolation: backend.abilities.isolation })
    return yield* Deferred.await(taken)
  }).pipe(Service.providing(BackendChoice.layer(choice, state)))
}
