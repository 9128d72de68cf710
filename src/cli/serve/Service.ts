/**
 * What the three services have in common: the fabric on NATS, the health port, secrets, and the signs of life.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as AdminToken from "../../planes/control/AdminToken.ts"
import { Registry } from "../../planes/control/Registry.ts"
import * as RegistrySnapshots from "../../planes/control/RegistrySnapshots.ts"
import * as NatsFabric from "../../planes/fabric/NatsFabric.ts"
import * as HealthServer from "../../planes/HealthServer.ts"
import * as PlaneClock from "../../planes/invocation/PlaneClock.ts"
import * as SharedSecret from "../../planes/SharedSecret.ts"
import { CommandFailed } from "../Command.ts"
import type { ServeConfig } from "../config/ServeConfig.ts"
import * as EventLines from "../dev/EventLines.ts"

export type PlaneName = "invocation" | "control" | "agent"

/** One service while it runs. */
export interface Running {
  readonly config: ServeConfig
  readonly plane: PlaneName
  /** Adds to what `/readyz` looks at. */
  readonly check: (check: HealthServer.Check) => void
  /** It is up: from now on `/readyz` depends on its checks alone. */
  readonly ready: (facts: Readonly<Record<string, unknown>>) => void
}

const credentials = (path: string | undefined) =>
  path === undefined ? ({ _tag: "Anonymous" } as const) : ({ _tag: "File", path } as const)

const fabricOptions = ({ nats, state }: ServeConfig): NatsFabric.NatsFabricOptions => ({
  servers: nats.urls,
  credentials: credentials(nats.credentials),
  system:
    nats.systemUrls.length === 0
      ? undefined
      : { servers: nats.systemUrls, credentials: credentials(nats.systemCredentials) },
  monitorUrls: nats.monitorUrls,
  durability: nats.durability,
  logBytesMax: nats.logBytes,
  prefix: nats.prefix,
  blobDirectory: state
})

/** `file:PATH` or the secret itself. */
const secretText = (given: string, path: string): string => {
  if (!given.startsWith("file:")) return given
  try {
    const text = readFileSync(given.slice("file:".length), "utf8").trim()
    if (/^[A-Za-z0-9_-]{43,512}$/.test(text)) return text
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error)
    throw new CommandFailed({ kind: "configuration", message: `${path}: ${given.slice(5)} cannot be read (${code})` })
  }
  throw new CommandFailed({
    kind: "configuration",
    message: `${path}: ${given.slice(5)} does not hold a secret: 43 to 512 of A-Z, a-z, 0-9, - and _`
  })
}

const generate = () => randomBytes(32).toString("base64url")

const secret = (given: string | undefined, name: string, path: string) =>
  given === undefined ? SharedSecret.shared(name, generate) : Effect.sync(() => secretText(given, path))

export const workerSecret = ({ secrets }: ServeConfig) =>
  Effect.map(secret(secrets.worker, "worker", "secrets.worker"), (text): Uint8Array => Buffer.from(text))

/** Also written into the state folder, where the commands of this machine look for it. */
export const adminToken = ({ secrets, state }: ServeConfig) =>
  Effect.tap(secret(secrets.adminToken, "admin-token", "secrets.adminToken"), (token) =>
    Effect.sync(() => {
      const path = join(state, AdminToken.fileName)
      writeFileSync(path, `${token}\n`, { mode: 0o600 })
      chmodSync(path, 0o600)
    })
  )

export const registry = ({ state }: ServeConfig) => Registry.layer({ snapshots: RegistrySnapshots.placeIn(state) })

/** Built into the service's own scope: it outlives `service`, and closes after all that uses it. */
export const providing =
  <A, E2, R2>(layer: Layer.Layer<A, E2, R2>) =>
  <E, R>(service: Effect.Effect<void, E, R>) =>
    Effect.flatMap(Layer.build(layer), (context) => Effect.provide(service, context))

/** Opens the health port, then the fabric, then `service`; runs until it is interrupted, and drains. */
export const run = <E, R>(
  options: { readonly config: ServeConfig; readonly plane: PlaneName; readonly isDraining: () => boolean },
  service: (running: Running) => Effect.Effect<void, E, R | NatsFabric.NatsLink>
) => {
  const { config, plane, isDraining } = options
  const startedMs = performance.now()
  let isUp = false
  const checks: Array<HealthServer.Check> = [
    { name: "drain", look: Effect.sync(() => (isDraining() ? "it is draining" : undefined)) },
    { name: "start", look: Effect.sync(() => (isUp ? undefined : `the ${plane} plane is still starting`)) }
  ]
  const program = Effect.gen(function* () {
    mkdirSync(config.state, { recursive: true, mode: 0o700 })
    const { host } = config.health
    const healthPort = yield* HealthServer.listen({ host, port: config.health.port, checks: () => checks })
    const health = `http://${host}:${healthPort}`
    EventLines.write({ event: "starting", plane, health, pid: process.pid })
    yield* Effect.addFinalizer(() => Effect.sync(() => EventLines.write({ event: "stopped", plane })))
    const fabric = yield* Layer.build(NatsFabric.layer(fabricOptions(config)))
    const running: Running = {
      config,
      plane,
      check: (check) => void checks.push(check),
      ready: (facts) => {
        isUp = true
        EventLines.write({
          event: "ready",
          plane,
          health,
          ...facts,
          readyMs: Math.round(performance.now() - startedMs)
        })
      }
    }
    const link = yield* Effect.provide(NatsFabric.NatsLink, fabric)
    running.check({
      name: "fabric",
      look: Effect.map(
        Effect.promise(() => link.health()),
        (seen) => (seen._tag === "Healthy" ? undefined : `NATS does not answer: ${seen.reason}`)
      )
    })
    yield* Effect.provide(service(running), fabric)
    return yield* Effect.never
  }).pipe(Effect.scoped)
  return Effect.updateService(program, Clock.Clock, PlaneClock.effectClock)
}
