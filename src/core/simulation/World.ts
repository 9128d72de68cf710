/**
 * What the parts of a simulation share: the time, what will happen, the log, and each other.
 *
 * @module
 */
import type * as Instance from "../instance/Instance.ts"
import type { EventQueue } from "./EventQueue.ts"
import type { LogHash } from "./LogHash.ts"
import type { Measurements } from "./Measurements.ts"
import type { Random } from "./Random.ts"
import type { Scenario } from "./Scenario.ts"
import type { SimulatedCompute } from "./SimulatedCompute.ts"
import type { SimulatedControl } from "./SimulatedControl.ts"
import type { SimulatedShards } from "./SimulatedShards.ts"

export interface World {
  nowMs: number
  readonly scenario: Scenario
  readonly random: Random
  readonly queue: EventQueue
  readonly log: LogHash
  readonly measured: Measurements
  readonly shards: SimulatedShards
  readonly control: SimulatedControl
  readonly compute: SimulatedCompute
}

/** Kinds of events in the queue, and what their two numbers mean. */
export const kinds = {
  /** Not in the queue: taken from the source. For the log. */
  arrived: 1,
  /** Sequence, token. */
  requestDone: 2,
  /** Shard. */
  shardTick: 3,
  /** Function. */
  demandDue: 4,
  /** Function. */
  urgentOver: 5,
  /** Function. */
  wake: 6,
  /** Instance. */
  orderArrives: 7,
  /** Instance, phase. */
  phaseEnds: 8,
  /** Instance, one of `reports`. */
  reportArrives: 9,
  /** Instance, drain in milliseconds. */
  terminateArrives: 10,
  /** Instance. */
  drainOver: 11,
  /** Instance. */
  instanceEnds: 12,
  /** Instance. */
  heartbeat: 13,
  /** Fault. */
  faultBegins: 14,
  /** Fault. */
  faultEnds: 15,
  /** Cluster. */
  silence: 16,
  /** Cluster. */
  listed: 17,
  /** For the log: a lease, an end, a decision. */
  leased: 32,
  ended: 33,
  decided: 34
} as const

export const reports = { agent: 0, workerReady: 1, workerGone: 2 } as const

/** What an instance really is; `state` is what the control plane knows of it. */
export interface SimulatedInstance {
  readonly number: number
  readonly id: string
  readonly function: number
  readonly cluster: number
  readonly slots: number
  readonly gpuCount: number
  state: Instance.State
  life: "ordered" | "starting" | "serving" | "ending" | "gone"
  /** -1: none. */
  node: number
  phaseEndsMs: ReadonlyArray<number>
  phase: number
  startedAtMs: number | null
  readyAtMs: number | null
  /** Why it is gone, and whether somebody had asked for it. */
  detail: string
  hasFailed: boolean
  isConnected: boolean
  isTerminating: boolean
  /** Its shard was told to give it nothing more. */
  isLeaving: boolean
  /** Sequence → token. */
  readonly leases: Map<number, number>
  /** Answers that are finished and could not be told. */
  untold: Array<number>
  heardAtMs: number
  hasHeartbeat: boolean
}
