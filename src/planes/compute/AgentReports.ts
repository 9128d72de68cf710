/**
 * What an agent tells the control plane, over pub/sub: each change of an instance when it happens, and all that it has in
 * heartbeats. An agent that does not act for its cluster tells nothing (A9).
 *
 * @module
 */
import type { Capacity, ComputeBackend } from "../../backends/ComputeBackend.ts"
import { Message } from "../fabric/Message.ts"
import type { PubSub } from "../fabric/PubSub.ts"
import { type AgentReport, type Drain, type InstanceReport, subjects } from "./AgentMessage.ts"
import * as AgentMessageCheck from "./AgentMessageCheck.ts"
import type { HeartbeatPart } from "./HeartbeatPart.ts"

export interface AgentReports {
  readonly changed: (instance: InstanceReport) => void
  /** `part`: which of its instances these are; undefined = all. */
  readonly heartbeat: (
    instanceTypes: Capacity["instanceTypes"],
    instances: ReadonlyArray<InstanceReport>,
    part: HeartbeatPart | undefined
  ) => void
  /** To the owner of the shard of its worker: give it nothing new. */
  readonly drain: (drain: Drain) => void
}

/** What functions may demand of the place where they run. */
export interface ClusterSite {
  readonly region: string
  /** Clusters that belong together, such as those of one owner. */
  readonly group?: string
  /** What it has, such as `nvlink`. */
  readonly attributes?: ReadonlyArray<string>
  /** What it is certified for, such as `iso-27001`. */
  readonly compliance?: ReadonlyArray<string>
}

export interface AgentReportsOptions {
  readonly cluster: string
  readonly site: ClusterSite
  readonly abilities: ComputeBackend["Service"]["abilities"]
  readonly pubSub: PubSub["Service"]
  /** Of this agent; undefined: it does not act for its cluster. */
  readonly epoch: () => number | undefined
}

export const make = ({ cluster, site, abilities, pubSub, epoch }: AgentReportsOptions): AgentReports => {
  const subject = subjects.report(cluster)

  const publish = (report: AgentReport) => {
    const agentEpoch = epoch()
    if (agentEpoch === undefined) return
    const message = agentEpoch === 0 ? report : { ...report, agentEpoch }
    pubSub.publish(subject, new Message(AgentMessageCheck.agentReport, message))
  }

  return {
    changed: (instance) => publish({ _tag: "InstanceChanged", cluster, instance }),
    heartbeat: (instanceTypes, instances, part) => {
      const { name, isolation } = abilities
      const which = part === undefined ? {} : { part }
      publish({ _tag: "Heartbeat", cluster, ...site, backend: name, isolation, instanceTypes, ...which, instances })
    },
    drain: (drain) => pubSub.publish(subjects.drain, new Message(AgentMessageCheck.drain, drain))
  }
}
