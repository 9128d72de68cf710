/** `millrace serve agent`: the agent of one cluster and its backend. @module */
import { resolve } from "node:path"
import * as Effect from "effect/Effect"
import { ComputeBackend } from "../../backends/ComputeBackend.ts"
import * as AgentPlane from "../../planes/AgentPlane.ts"
import * as Leadership from "../../planes/control/Leadership.ts"
import * as LeaseKeeper from "../../planes/LeaseKeeper.ts"
import * as PeerBook from "../../planes/peer/PeerBook.ts"
import * as WorkerSecret from "../../planes/WorkerSecret.ts"
import * as BackendChoice from "../backend/BackendChoice.ts"
import type { Input } from "../Command.ts"
import type { ServeConfig } from "../config/ServeConfig.ts"
import * as Service from "./Service.ts"

/** As if it had been said by flags, so that it is judged alike. */
const choiceOf = ({ agent }: ServeConfig): BackendChoice.BackendChoice => {
  const { backend, isolation, dockerImage, gpu, startModel } = agent
  const values: Input["values"] = {
    backend,
    isolation,
    "docker-image": dockerImage,
    gpu,
    "start-model": startModel
  }
  return BackendChoice.of({ values, positionals: [], rest: [] })
}

export const service = ({ config, check, ready }: Service.Running) => {
  const { agent } = config
  const state = resolve(config.state)
  const choice = choiceOf(config)
  return Effect.gen(function* () {
    const backend = yield* ComputeBackend
    const planes = yield* PeerBook.make("invocation")
    const socket = BackendChoice.workerSocketOf(choice, state)
    const fixed = agent.workerUrl ?? (socket === undefined ? undefined : `unix:${socket}`)
    const workerUrl = () => fixed ?? planes.present().find((hello) => hello.workerUrl !== undefined)?.workerUrl
    const plane = yield* AgentPlane.open({
      cluster: agent.cluster,
      region: agent.region,
      heartbeatMs: agent.heartbeatMs,
      shutdownMs: agent.shutdownMs,
      workerUrl,
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
      look: Effect.sync(() =>
        workerUrl() === undefined
          ? "no invocation plane has been heard of: instances cannot connect anywhere"
          : undefined
      )
    })
    ready({ cluster: agent.cluster, backend: backend.abilities.name, isolation: backend.abilities.isolation })
  }).pipe(Service.providing(BackendChoice.layer(choice, state)))
}
