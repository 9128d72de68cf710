/** `millrace serve control`: the registry's API, and the controller that scales. @module */
import * as Effect from "effect/Effect"
import * as ControlPlane from "../../planes/ControlPlane.ts"
import { Registry } from "../../planes/control/Registry.ts"
import * as Service from "./Service.ts"

/** Agents answer within a fraction of it. */
const settleMs = 1_000

export const service = ({ config, ready }: Service.Running) =>
  Effect.gen(function* () {
    const { host, port, unreachableAfterMs } = config.control
    const adminToken = yield* Service.adminToken(config)
    const plane = yield* ControlPlane.open({ unreachableAfterMs, settleMs })
    const sources = yield* ControlPlane.remoteSources(plane.control)
    const listening = yield* plane.listen({ host, port, adminToken }, sources)
    ready({ control: listening.url })
  }).pipe(Service.providing(Registry.layer))
