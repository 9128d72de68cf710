/** `millrace serve control`: the registry's API, and the controller that scales. @module */
import * as Effect from "effect/Effect"
import * as ControlPlane from "../../planes/ControlPlane.ts"
import * as Leadership from "../../planes/control/Leadership.ts"
import * as EventLines from "../dev/EventLines.ts"
import * as Service from "./Service.ts"

export const service = ({ config, check, ready }: Service.Running) =>
  Effect.gen(function* () {
    const { host, port, unreachableAfterMs } = config.control
    const adminToken = yield* Service.adminToken(config)
    const plane = yield* ControlPlane.open({
      unreachableAfterMs,
      settleMs: Leadership.settleMs,
      onLeader: (change) => EventLines.write({ event: "leader", ...change })
    })
    check({ name: "leader", look: Effect.sync(plane.leaderless) })
    const sources = yield* ControlPlane.remoteSources(plane.control)
    const listening = yield* plane.listen({ host, port, adminToken }, sources)
    ready({ control: listening.url })
  }).pipe(Service.providing(Service.registry(config)))
