/**
 * Answers questions about requests: the live ones from the machine, the ones that ended lately from a bounded memory.
 *
 * @module
 */
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import { RecentMap } from "../../core/collections/RecentMap.ts"
import type { ControlView } from "../control/ControlView.ts"
import type { Entry } from "./Entry.ts"
import { nowMs } from "./PlaneClock.ts"
import * as Receipt from "./Receipt.ts"
import type { BacklogFigures, RequestDirectory, RequestFilter, RequestView } from "./RequestDirectory.ts"
import * as RequestHistory from "./RequestHistory.ts"
import type { Shard } from "./Shard.ts"
import type { Shards } from "./Shards.ts"

/** Ended requests that can still be looked at; disposable, so it is only memory. */
const endedMax = 1000

export class RequestBook implements RequestDirectory {
  readonly #control: Pick<ControlView, "startTimeline" | "whyWaiting">
  readonly #ended = new RecentMap<string, Entry>()
  #shards: Shards | undefined

  #staleCount = 0

  constructor(control: Pick<ControlView, "startTimeline" | "whyWaiting">) {
    this.#control = control
  }

  attach(shards: Shards): void {
    this.#shards = shards
  }

  readonly remember = (entry: Entry): void => {
    this.#ended.set(entry.requestId, entry)
    this.#ended.trim(endedMax)
  }

  readonly list = (filter: RequestFilter): ReadonlyArray<RequestView> => {
    const views: Array<RequestView> = []
    const seen = new Set<string>()
    const consider = (shard: Shard | undefined, entry: Entry) => {
      if (views.length >= filter.limit || seen.has(entry.requestId) || !matches(entry, filter)) return
      seen.add(entry.requestId)
      const view = this.#view(shard, entry)
      if (filter.state === undefined || view.state === filter.state) views.push(view)
    }
    const shards = this.#shards
    if (shards === undefined) return []
    for (const shard of shards.all) for (const entry of newestFirst(shard.entries.all())) consider(shard, entry)
    for (const entry of newestFirst(this.#ended.values())) consider(undefined, entry)
    return views.sort((a, b) => b.arrivedAtMs - a.arrivedAtMs)
  }

  readonly get = (requestId: string): RequestView | undefined => {
    const found = this.#shards?.byRequestId(requestId)
    if (found !== undefined) return this.#view(found.shard, found.entry)
    const ended = this.#ended.get(requestId)
    return ended === undefined ? undefined : this.#view(undefined, ended)
  }

  readonly cancel = (requestId: string): "cancelled" | "ended" | "unknown" => {
    const found = this.#shards?.byRequestId(requestId)
    if (found !== undefined) return found.shard.cancel(found.entry)
    return this.#ended.has(requestId) ? "ended" : "unknown"
  }

  readonly backlog = (): ReadonlyArray<BacklogFigures> => {
    const figures: Array<BacklogFigures> = []
    for (const shard of this.#shards?.all ?? []) {
      for (const versionId of Buffer_.versions(shard.state)) {
        const { pending, leased, freeSlots, oldestPendingAtMs } = Buffer_.demand(shard.state, versionId)
        figures.push({
          versionId,
          pending,
          leased,
          freeSlots,
          oldestPendingMs: oldestPendingAtMs === null ? null : Math.max(0, nowMs() - oldestPendingAtMs)
        })
      }
    }
    return figures
  }

  /** A message of a worker was refused because its lease was over. Shards come and go: it is counted here. */
  readonly countStale = (): void => {
    this.#staleCount += 1
  }

  readonly staleMessagesRefused = (): number => this.#staleCount

  /** `shard`: where it lives; undefined of one that ended and is only remembered. */
  #view(shard: Shard | undefined, entry: Entry): RequestView {
    const live = entry.end === undefined ? shard?.state : undefined
    const found = live === undefined ? undefined : Buffer_.lookup(live, entry.sequence)
    const state = entry.end?.terminal ?? (found === undefined || found.state === "terminal" ? "pending" : found.state)
    const position = state === "pending" && live !== undefined ? (Buffer_.position(live, entry.sequence) ?? 0) : null
    const start = entry.lastInstanceId === undefined ? undefined : this.#control.startTimeline(entry.lastInstanceId)
    return {
      requestId: entry.requestId,
      tenant: entry.tenant,
      functionId: entry.functionId,
      functionName: entry.functionName,
      versionId: entry.versionId,
      method: entry.method,
      path: entry.path,
      mode: entry.mode,
      durability: entry.durability,
      state,
      attempt: entry.attempts,
      maxAttempts: entry.maxAttempts,
      arrivedAtMs: entry.arrivedMs,
      deadlineMs: entry.deadlineMs,
      endedAtMs: entry.endedMs ?? null,
      keepUntilMs: entry.keepUntilMs ?? null,
      position,
      cause: this.#cause(entry, state, position, found?.notBeforeMs ?? undefined),
      reason: entry.end?.reason ?? null,
      message: entry.end?.message ?? null,
      instanceId: entry.lastInstanceId ?? null,
      stored: entry.callPosition !== undefined,
      resultKept: entry.end?.resultKept ?? false,
      progress: entry.progress ?? null,
      phases: Receipt.phases(entry, start, entry.endedMs ?? nowMs()),
      history: RequestHistory.of(entry),
      replayOf: entry.replayOf ?? null
    }
  }

  #cause(entry: Entry, state: RequestView["state"], position: number | null, notBeforeMs: number | undefined): string {
    switch (state) {
      case "pending": {
        if (notBeforeMs !== undefined && notBeforeMs > nowMs()) {
          return `attempt ${entry.attempts} was lost; the next one may start in ${seconds(notBeforeMs - nowMs())}`
        }
        const ahead = position === null || position === 0 ? "it is next" : `${position} are before it`
        return `${this.#control.whyWaiting(entry.versionId) ?? "every slot is busy"}; ${ahead}`
      }
      case "leased":
        return `instance ${entry.lastInstanceId} works on it (attempt ${entry.attempts} of ${entry.maxAttempts})`
      case "responding":
        return `instance ${entry.lastInstanceId} is sending the answer`
      case "responded":
        return entry.end?.resultKept === true ? "answered; the result can be claimed" : "answered"
      default:
        return entry.end?.message ?? entry.end?.reason ?? state
    }
  }
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`

const newestFirst = (entries: Iterable<Entry>): ReadonlyArray<Entry> => [...entries].reverse()

const matches = (entry: Entry, filter: RequestFilter): boolean =>
  (filter.tenant === undefined || entry.tenant === filter.tenant) &&
  (filter.functionId === undefined || entry.functionId === filter.functionId) &&
  (filter.versionId === undefined || entry.versionId === filter.versionId)
