/**
 * All demand of this process at once, for a control plane that asks: it has just begun to act, or wants to be sure that
 * nothing got lost on the way. What a shard does not name has none.
 *
 * @module
 */

import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import { type DemandSnapshot, subjects } from "../compute/AgentMessage.ts"
import { PubSub } from "../fabric/PubSub.ts"
import * as Demand from "./Demand.ts"
import type { Shards } from "./Shards.ts"

/** A report is about 300 bytes; a message stays far below what servers take as one. */
const reportsPerMessage = 200

export const serve = (shards: Shards): Effect.Effect<void, never, PubSub | Scope.Scope> =>
  Effect.gen(function* () {
    const pubSub = yield* PubSub
    yield* pubSub.subscribe(subjects.demandWanted, () => {
      for (const shard of shards.all) {
        const reports = [...Buffer_.versions(shard.state)]
          .map((versionId) => Demand.reportOf(shard, versionId))
          .filter(({ pending, leased }) => pending + leased > 0)
        for (let at = 0; at === 0 || at < reports.length; at += reportsPerMessage) {
          const message: DemandSnapshot = {
            shard: shard.name,
            shardCount: shards.count,
            isFirst: at === 0,
            isLast: at + reportsPerMessage >= reports.length,
            reports: reports.slice(at, at + reportsPerMessage)
          }
          pubSub.publish(subjects.demandSnapshot, Buffer.from(JSON.stringify(message)))
        }
      }
    })
  })
