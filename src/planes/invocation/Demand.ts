/**
 * The figures of one version in one shard, as the control plane is told them.
 *
 * @module
 */
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { DemandReport } from "../compute/AgentMessage.ts"
import { nowMs } from "./PlaneClock.ts"
import type { Shard } from "./Shard.ts"

export const reportOf = (shard: Shard, versionId: string): DemandReport => {
  const figures = Buffer_.demand(shard.state, versionId)
  return {
    shard: shard.name,
    versionId,
    pending: figures.pending,
    leased: figures.leased,
    leasedByInstance: figures.leasedByInstance,
    arrivalsTotal: figures.arrivalsTotal,
    oldestPendingMs: figures.oldestPendingAtMs === null ? null : Math.max(0, nowMs() - figures.oldestPendingAtMs)
  }
}
