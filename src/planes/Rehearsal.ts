/**
 * A first call at zero, once through what decides on it, with states that are thrown away: else the first caller of a
 * process waits until the engine has compiled all of it and OpenSSL has looked up its algorithms, some ten milliseconds.
 *
 * Each plane rehearses its own part when it opens. Nothing leaves: no order, no record, no report.
 *
 * @module
 */
import * as Buffer_ from "../core/buffer/Buffer.ts"
import type { BufferOptions } from "../core/buffer/BufferOptions.ts"
import * as ControllerClusters from "./control/ControllerClusters.ts"
import * as ControllerInstances from "./control/ControllerInstances.ts"
import * as ControllerVersions from "./control/ControllerVersions.ts"
import { deploymentDefaults } from "./control/Domain.ts"
import type { Route } from "./control/RoutingTable.ts"
import * as WorkerToken from "./invocation/WorkerToken.ts"

const name = "rehearsal"
const nothing = () => {}

/** Of the invocation plane: a request arrives, and nobody serves it. */
export const arrival = (options: BufferOptions): Buffer_.Demand => {
  const [ready] = Buffer_.advance(Buffer_.empty(options), { _tag: "Recovered", nowMs: 0, epoch: 1 })
  const [state] = Buffer_.advance(ready, {
    _tag: "Arrived",
    nowMs: 0,
    sequence: 1,
    requestId: name,
    tenant: name,
    version: name,
    mode: "sync",
    durability: "accepted",
    deadlineMs: deploymentDefaults.requestTimeoutMs,
    sizeBytes: 1,
    maxAttempts: deploymentDefaults.maxAttempts
  })
  return Buffer_.demand(state, name)
}

const route: Route = {
  tenant: name,
  functionId: name,
  functionName: name,
  versionId: name,
  version: { command: [name], environment: {}, durability: "accepted", inferencePath: "/" },
  deployment: { spec: deploymentDefaults, generation: 1 }
}

/** Of the control plane: a request waits, and an instance is ordered. Answers how many orders there were. */
export const decision = (): number => {
  let orders = 0
  const clusters = ControllerClusters.make(1)
  const versions = ControllerVersions.make({
    routes: {
      byName: () => route,
      byFunctionId: () => route,
      byVersionId: () => route,
      deployedVersionIds: () => [],
      onChange: () => nothing
    },
    time: { nowMs: () => 0, after: () => nothing },
    clusters,
    instances: ControllerInstances.make(),
    orders: { create: () => void orders++, terminate: nothing, close: nothing },
    silence: () => "zero",
    isActing: () => true,
    newSuffix: () => crypto.randomUUID().slice(24),
    warn: nothing,
    onDecision: nothing,
    onInstance: nothing,
    onDrain: nothing
  })
  const { instanceType } = deploymentDefaults
  const site = { cluster: name, region: name, backend: name, isolation: name }
  const room = { name: instanceType, gpuKind: "none", gpuCount: 0, total: 1, free: 1 }
  clusters.heartbeat({ _tag: "Heartbeat", ...site, instanceTypes: [room], instances: [] }, 0, () => false)
  const demand = { shard: name, versionId: name, leased: 0, leasedByInstance: {}, arrivalsTotal: 1 }
  versions.demand({ ...demand, pending: 1, oldestPendingMs: 0 }, 0)
  versions.close()
  return orders
}

/** Of the agent: the first signature of a secret. */
export const order = (secret: Uint8Array): string =>
  WorkerToken.issue(secret, { instanceId: name, functionId: name, versionId: name, expiresAtMs: 0 })
