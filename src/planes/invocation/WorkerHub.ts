/**
 * Takes workers in: checks their credential, finds the shard of their version, and passes their messages on. Reports to
 * the control plane who is ready, draining and gone.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { RecentMap } from "../../core/collections/RecentMap.ts"
import { initialCreditBytes } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import { subjects, type WorkerReport } from "../compute/AgentMessage.ts"
import * as AgentMessageCheck from "../compute/AgentMessageCheck.ts"
import type { RoutingTable } from "../control/RoutingTable.ts"
import { Message } from "../fabric/Message.ts"
import { PubSub } from "../fabric/PubSub.ts"
import { nowMs } from "./PlaneClock.ts"
import type { Shards } from "./Shards.ts"
import type { ConnectRefusal, SessionIdentity, WorkerConnectionHandler, WorkerHost } from "./WorkerSession.ts"
import * as WorkerToken from "./WorkerToken.ts"

export interface WorkerHubOptions {
  readonly region: string
  readonly heartbeatMs: number
  readonly visibilityTimeoutMs: number
  /** Signs worker tokens. */
  readonly secret: Uint8Array
  /** How long the token of a connected worker lasts; it gets a fresh one with each `ConnectOnce`. */
  readonly tokenLifetimeMs: number
}

/** Workers between `ConnectOnce` and their stream. Beyond this the oldest is forgotten, and has to ask again. */
const announcedMax = 10_000
/** Instances that are to end and have not. Beyond this the oldest is forgotten, and a late worker of it may be given work. */
const leavingMax = 10_000

export const make = (
  options: WorkerHubOptions,
  shards: Shards,
  routes: RoutingTable
): Effect.Effect<WorkerHost, never, PubSub | Scope.Scope> =>
  Effect.gen(function* () {
    const pubSub = yield* PubSub
    const report = (report: WorkerReport) =>
      pubSub.publish(subjects.worker, new Message(AgentMessageCheck.workerReport, report))

    const refuse = (kind: ConnectRefusal["kind"], message: string): ConnectRefusal => ({ kind, message })

    /** Worker ids announced in `ConnectOnce`, by the token that was handed out for them. */
    const announced = new RecentMap<string, SessionIdentity>()

    /** Instances that are to end, and why: a worker of theirs that connects now, or again, gets nothing new. */
    const leaving = new RecentMap<string, string>()

    yield* pubSub.hear(subjects.drain, (payload) => {
      const drain = AgentMessageCheck.drain(payload)
      if (Result.isFailure(drain)) return
      const { instanceId, reason } = drain.success
      leaving.set(instanceId, reason)
      leaving.trim(leavingMax)
      for (const shard of shards.all) {
        for (const worker of shard.workers.ofInstance(instanceId)) {
          if (!worker.draining) shard.workers.drain(worker)
          worker.send({ _tag: "Drain", reason })
          const forMs = worker.heldForMs(nowMs())
          const { versionId } = worker.identity
          if (forMs > 0) report({ _tag: "WorkerHolds", instanceId, versionId, forMs })
        }
      }
    })

    // An instance whose end was seen by its agent will not come back: its leases are over at once.
    yield* pubSub.hear(subjects.reports, (payload) => {
      // Megabytes, every other second, that say nothing of an end.
      if (payload instanceof Uint8Array && isHeartbeat(payload)) return
      const message = AgentMessageCheck.agentReport(payload)
      if (Result.isFailure(message) || message.success._tag !== "InstanceChanged") return
      const { instanceId, state } = message.success.instance
      if (state !== "stopped" && state !== "failed") return
      leaving.delete(instanceId)
      for (const shard of shards.all)
        for (const worker of shard.workers.ofInstance(instanceId)) shard.workers.lost(worker)
    })

    return {
      connectOnce: (request) => {
        const claims = WorkerToken.verify(options.secret, request.token, nowMs())
        if (
          claims === undefined ||
          claims.instanceId !== request.instanceId ||
          claims.versionId !== request.versionId ||
          claims.functionId !== request.functionId
        ) {
          return refuse(
            "unauthenticated",
            "the worker token is not valid for this instance: start the instance through Millrace, which hands it its token"
          )
        }
        if (routes.byVersionId(request.versionId)?.deployment === undefined) {
          return refuse(
            "unknown-version",
            `version ${request.versionId} is not deployed any more: nothing will be sent to it`
          )
        }
        CrashPoint.hit("invocation.hub.connectOnce")
        const place = shards.placeOf(shards.indexOf(request.versionId))
        if (place.kind === "changing") return refuse("unavailable", changing)
        const atMs = nowMs()
        const tokenExpiresAtMs = Math.round(atMs + options.tokenLifetimeMs)
        const { instanceId, functionId, versionId, workerId } = request
        const identity = { instanceId, functionId, versionId, workerId }
        const isElsewhere = place.kind === "peer"
        const token = WorkerToken.issue(options.secret, {
          ...claims,
          ...(isElsewhere ? { workerId } : {}),
          expiresAtMs: tokenExpiresAtMs
        })
        if (!isElsewhere) {
          announced.set(token, identity)
          announced.trim(announcedMax)
        }
        return {
          region: options.region,
          otherRegions: [],
          workUrl: isElsewhere ? place.address.workerUrl : "",
          heartbeatMs: options.heartbeatMs,
          visibilityTimeoutMs: options.visibilityTimeoutMs,
          initialCreditBytes,
          token,
          tokenExpiresAtMs,
          nowMs: Math.round(atMs)
        }
      },
      open: (token, connect) => {
        const claims = WorkerToken.verify(options.secret, token, nowMs())
        const identity = announced.get(token) ?? sentOn(claims)
        if (identity === undefined || claims === undefined) {
          return refuse("unauthenticated", "call ConnectOnce first and open the stream with the token that it answers")
        }
        announced.delete(token)
        const shard = shards.at(shards.indexOf(identity.versionId))
        if (shard === undefined) return refuse("unavailable", changing)
        const connection = connect(identity)
        const worker = shard.workers.opened(identity, connection)
        CrashPoint.hit("invocation.hub.opened")
        const about = { instanceId: identity.instanceId, versionId: identity.versionId }
        const handler: WorkerConnectionHandler = {
          onMessage: (message) => {
            // Before the first assignment, so that the control plane knows it as ready when the answer's receipt asks.
            if (message._tag === "Ready") {
              report({ _tag: "WorkerReady", ...about, slots: message.slots, phases: message.phases })
            }
            const whyLeaving = message._tag === "Ready" ? leaving.get(identity.instanceId) : undefined
            if (message._tag === "Ready" && whyLeaving !== undefined) {
              // Without slots, so that what it still holds is heard of and nothing is assigned before it drains.
              shard.workers.said(worker, { ...message, slots: 0 })
              shard.workers.drain(worker)
              connection.send({ _tag: "Drain", reason: whyLeaving })
              return
            }
            shard.workers.said(worker, message)
            if (message._tag === "Draining") report({ _tag: "WorkerDraining", ...about })
          },
          onDrain: () => worker.drained(),
          onClose: ({ clean }) => {
            shard.workers.closed(worker, connection, clean)
            // One that moves with its shard is there, and the next owner says so.
            if (worker.connection === undefined && shard.takesCalls) report({ _tag: "WorkerGone", ...about })
          }
        }
        return handler
      }
    }
  })

const heartbeatBegins = Buffer.from('{"_tag":"Heartbeat"')
const isHeartbeat = (payload: Uint8Array): boolean =>
  heartbeatBegins.equals(payload.subarray(0, heartbeatBegins.length))

const changing = "the gateway that has the work of this version is changing: ask again shortly"

/** By another gateway, whose token names it. */
const sentOn = (claims: WorkerToken.WorkerClaims | undefined): SessionIdentity | undefined => {
  if (claims?.workerId === undefined) return undefined
  const { instanceId, functionId, versionId, workerId } = claims
  return { instanceId, functionId, versionId, workerId }
}
