/**
 * A control server on a free port over fakes, and a client that says what it saw.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as ClusterOrders from "../../src/planes/control/ClusterOrders.ts"
import * as ControlServer from "../../src/planes/control/ControlServer.ts"
import {
  ClusterOrdersSource,
  DeadLettersSource,
  InstancesSource,
  LogsSource,
  lettersOf,
  RequestsSource,
  requestsOf
} from "../../src/planes/control/ControlSources.ts"
import * as Registry from "../../src/planes/control/Registry.ts"
import { KeyValue } from "../../src/planes/fabric/KeyValue.ts"
import * as FakeKeyValue from "./FakeKeyValue.ts"
import { FakeControlView, FakeDeadLetters, FakeLogs, FakeRequestDirectory } from "./FakeSources.ts"

export const adminToken = "A".repeat(43)

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // What a server sent is of any shape; tests look into it and fail on what is not there.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  readonly json: any
}

export interface Harness {
  readonly url: string
  readonly port: number
  readonly keyValue: FakeKeyValue.FakeKeyValue
  readonly registry: typeof Registry.Registry.Service
  readonly requests: FakeRequestDirectory
  readonly deadLetters: FakeDeadLetters
  readonly instances: FakeControlView
  readonly logs: FakeLogs
  /** With the token, unless headers say otherwise; `json` is sent as JSON. */
  readonly call: (
    method: string,
    path: string,
    options?: {
      readonly json?: unknown
      readonly body?: string | Uint8Array<ArrayBuffer>
      readonly headers?: Record<string, string>
    }
  ) => Promise<Answer>
  readonly close: () => Promise<void>
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const start = async (at = { host: "127.0.0.1", port: 0 }): Promise<Harness> => {
  const keyValue = FakeKeyValue.make()
  const requests = new FakeRequestDirectory()
  const deadLetters = new FakeDeadLetters()
  const instances = new FakeControlView()
  const logs = new FakeLogs()
  const scope = Scope.makeUnsafe()
  const { registry, listening } = await Effect.runPromise(
    Effect.gen(function* () {
      const registry = yield* Registry.make()
      const clusterOrders = yield* ClusterOrders.make((cluster, order) => {
        instances.clusterViews = instances.clusterViews.map((one) =>
          one.name === cluster ? { ...one, ...order } : one
        )
      })
      const listening = yield* ControlServer.listen({ ...at, adminToken }).pipe(
        Effect.provideService(Registry.Registry, registry),
        Effect.provideService(ClusterOrdersSource, clusterOrders)
      )
      return { registry, listening }
    }).pipe(
      Effect.provideService(KeyValue, keyValue.service),
      Effect.provideService(RequestsSource, requestsOf(requests)),
      Effect.provideService(DeadLettersSource, lettersOf(deadLetters)),
      Effect.provideService(InstancesSource, instances),
      Effect.provideService(LogsSource, logs.source),
      Scope.provide(scope)
    )
  )
  return {
    url: listening.url,
    port: listening.port,
    keyValue,
    registry,
    requests,
    deadLetters,
    instances,
    logs,
    call: async (method, path, options = {}) => {
      const body = options.json === undefined ? options.body : JSON.stringify(options.json)
      const response = await fetch(`${listening.url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${adminToken}`,
          ...(options.json === undefined ? {} : { "content-type": "application/json" }),
          ...options.headers
        },
        ...(body === undefined ? {} : { body })
      })
      const text = await response.text()
      return { status: response.status, headers: response.headers, text, json: parsed(text) }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
