/**
 * The figures of a shard's versions on their way to the scaling machine: at once where a request waits, else together.
 *
 * @module
 */
import { subjects } from "../compute/AgentMessage.ts"
import * as AgentMessageCheck from "../compute/AgentMessageCheck.ts"
import { Message } from "../fabric/Message.ts"
import type { PubSub } from "../fabric/PubSub.ts"
import * as Demand from "./Demand.ts"
import type { Shard } from "./Shard.ts"

/** Figures of a version go out at most this often, except when a request waits. */
const demandIntervalMs = 100
/**
 * With requests waiting, figures go out at most this often: a decision costs as much as several accepts, and the second
 * of two in one burst would decide the same.
 */
const urgentIntervalMs = 5

/**
 * Tells the scaling machine: at once when the first request waits for a slot, for those that come right after it, and for
 * the first after idleness, with the figures at the end of `urgentIntervalMs`, and else with the latest figures of
 * `demandIntervalMs`.
 */
export const make = (pubSub: PubSub["Service"], shardOf: () => Shard) => {
  const dirty = new Set<string>()
  /** Versions whose urgent figures went out within the last `urgentIntervalMs`. */
  const urgentLately = new Set<string>()
  /** Versions last told of as idle: while that is believed, an instance that holds work may be picked to go. */
  const toldIdle = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let urgentTimer: NodeJS.Timeout | undefined
  const publish = (versionId: string) => {
    const report = Demand.reportOf(shardOf(), versionId)
    if (report.pending + report.leased === 0) toldIdle.add(versionId)
    else toldIdle.delete(versionId)
    pubSub.publish(subjects.demand, new Message(AgentMessageCheck.demandReport, report))
  }
  const flush = () => {
    timer = undefined
    const versions = [...dirty]
    dirty.clear()
    for (const versionId of versions) publish(versionId)
  }
  const flushUrgent = () => {
    urgentTimer = undefined
    const versions = [...urgentLately].filter((versionId) => dirty.delete(versionId))
    urgentLately.clear()
    for (const versionId of versions) publishUrgent(versionId)
  }
  const publishUrgent = (versionId: string) => {
    urgentLately.add(versionId)
    urgentTimer ??= setTimeout(flushUrgent, urgentIntervalMs)
    publish(versionId)
  }
  return {
    changed: (versionId: string, urgent: boolean) => {
      if (urgent && !urgentLately.has(versionId)) {
        dirty.delete(versionId)
        publishUrgent(versionId)
        return
      }
      dirty.add(versionId)
      if (toldIdle.has(versionId)) {
        urgentLately.add(versionId)
        urgentTimer ??= setTimeout(flushUrgent, urgentIntervalMs)
      } else timer ??= setTimeout(flush, demandIntervalMs)
    },
    stop: () => {
      clearTimeout(timer)
      clearTimeout(urgentTimer)
    }
  }
}
