/**
 * Every index of the buffer's state, derived again from the requests and workers by the simplest means (L2, L10).
 *
 * @module
 */
import * as HashMap from "effect/HashMap"
import type { State, Version } from "../src/core/buffer/BufferState.ts"
import * as Lanes from "../src/core/buffer/Lanes.ts"
import * as DueIndex from "../src/core/collections/DueIndex.ts"
import * as DueMap from "../src/core/collections/DueMap.ts"
import * as IntMap from "../src/core/collections/IntMap.ts"
import * as IntSet from "../src/core/collections/IntSet.ts"
import * as NameMap from "../src/core/collections/NameMap.ts"
import { dueMs, place, type State as RequestState } from "../src/core/request/RequestState.ts"

/** What is wrong, in words; `null`: nothing. */
export const firstDifference = (state: State): string | null => {
  const requests = DueMap.values(state.requests)
  const at = (wanted: string, version: number) =>
    requests.filter((request) => place(request) === wanted && request.version === version)
  const sequences = (found: typeof requests) => found.map((request) => request.arrived.sequence)
  const live = requests.filter((request) => place(request) !== "ended")

  const facts: Array<readonly [what: string, kept: unknown, derived: unknown]> = [
    ["liveCount", state.liveCount, live.length],
    ["liveBytes", state.liveBytes, live.reduce((sum, { arrived }) => sum + arrived.sizeBytes, 0)],
    ["requests.size", state.requests.size, requests.length],
    ["dueRequests is not late", isSoonEnough(state, requests), true],
    [
      "keys",
      [...HashMap.values(state.keys)].sort(byNumber),
      sequences(requests.filter(({ arrived }) => arrived.idempotencyKey !== undefined))
    ]
  ]

  IntMap.forEach(state.versions.rows, (version, number) => {
    const lanes = IntMap.values(version.lanes)
    const ready = lanes.flatMap((lane) => IntSet.toArray(lane.queue)).sort(byNumber)
    const inClass = (found: typeof requests, wanted: string) =>
      sequences(found.filter((request) => request._tag === "Pending" && request.waitsAs === wanted))
    const workers = IntSet.toArray(version.workers)
    facts.push([`ready of ${version.name}`, ready, sequences(at("ready", number))])
    const resting = lanes.filter(({ queue }) => queue.size === 0)
    facts.push([`restingCount of ${version.name}`, version.restingCount, resting.length])
    const restingMax = Math.max(Lanes.restingMax, lanes.length / 2)
    facts.push([`resting lanes of ${version.name} are few`, resting.length <= restingMax, true])
    facts.push([`readyCount of ${version.name}`, version.readyCount, ready.length])
    IntMap.forEach(version.lanes, ({ queue }, key) => {
      const mine = at("ready", number).filter(({ tenant }) => tenant === Math.floor(key / 2))
      facts.push([`lane ${key} of ${version.name}`, IntSet.toArray(queue), inClass(mine, Lanes.classOf(key))])
    })
    const parked = at("parked", number)
    facts.push([`parked of ${version.name}`, IntSet.toArray(version.parked), inClass(parked, "deadline")])
    const { parkedOpportunistic } = version
    facts.push([
      `parked, opportunistic of ${version.name}`,
      IntSet.toArray(parkedOpportunistic),
      inClass(parked, "opportunistic")
    ])
    facts.push([`leasedCount of ${version.name}`, version.leasedCount, at("leased", number).length])
    facts.push([`knownCount of ${version.name}`, version.knownCount, inVersion(requests, number)])
    const waitingKeys = IntMap.keys(version.lanes).filter((key) => IntMap.get(version.lanes, key)?.queue.size !== 0)
    for (const turn of [version.deadlineTurn, version.opportunisticTurn]) {
      const keys = waitingKeys.filter((key) => Lanes.classOf(key) === Lanes.classOf(turn))
      if (turn >= 0) facts.push([`ring of ${version.name}`, ringOf(version, turn).sort(byNumber), keys])
    }
    const rings = [version.deadlineTurn, version.opportunisticTurn].map((turn) => turn >= 0)
    const classes = [0, 1].map((bit) => waitingKeys.some((key) => key % 2 === bit))
    facts.push([`rings of ${version.name}`, rings, classes])
    let free = 0
    const ranks: Array<string> = []
    for (const worker of workers) {
      const row = IntMap.get(state.workers.rows, worker)
      if (row === undefined) return facts.push([`worker ${worker}`, "in its version", "not in the table"])
      const slots = row.status === "ready" ? Math.max(0, row.slots - row.holds.size) : 0
      facts.push([`free of ${row.workerId}`, row.free, slots])
      free += slots
      if (slots > 0) ranks.push(`${worker} at ${row.rank}, ${row.rankOrder}`)
    }
    facts.push([`freeSlots of ${version.name}`, version.freeSlots, free])
    const idle: Array<string> = []
    IntMap.forEach(version.idle, (orders, rank) =>
      IntMap.forEach(orders, (worker, order) => idle.push(`${worker} at ${rank}, ${order}`))
    )
    facts.push([`idle of ${version.name}`, idle.sort(), ranks.sort()])
    return undefined
  })

  IntMap.forEach(state.tenants.rows, (tenant, number) => {
    const mine = live.filter((request) => request.tenant === number)
    const bytes = mine.reduce((sum, { arrived }) => sum + arrived.sizeBytes, 0)
    facts.push([
      `live and bytes of ${tenant.name}`,
      [tenant.pending + tenant.leased, tenant.liveBytes],
      [mine.length, bytes]
    ])
    const known = requests.filter((request) => request.tenant === number).length
    facts.push([`knownCount of ${tenant.name}`, tenant.knownCount, known])
  })

  IntMap.forEach(state.workers.rows, (worker, number) => {
    const held = live.filter(
      (request) => (request._tag === "Leased" || request._tag === "Responding") && request.worker === number
    )
    facts.push([`holds of ${worker.workerId}`, IntSet.toArray(worker.holds), sequences(held)])
    const isThere = worker.status !== "away" || worker.holds.size > 0
    facts.push([`${worker.workerId} is there or holds something`, isThere, true])
    const isWatched = worker.holds.size === 0 || !state.live || worker.lookMs !== Number.POSITIVE_INFINITY
    facts.push([`${worker.workerId} is watched`, isWatched, true])
  })
  facts.push(["workers by name", NameMap.count(state.workers.numbers), IntMap.size(state.workers.rows)])
  facts.push(["dueWorkers is bounded", dues(state.dueWorkers).length <= IntMap.size(state.workers.rows), true])

  for (const [what, kept, derived] of facts) {
    const [one, other] = [JSON.stringify(kept), JSON.stringify(derived)]
    if (one !== other) return `${what} is ${one} and should be ${other}`
  }
  return null
}

/** The keys of the lanes in the order of their turns, once around; an inconsistent link ends it early. */
const ringOf = (version: Version, turn: number): Array<number> => {
  const found: Array<number> = []
  let key = turn
  for (let lane = IntMap.get(version.lanes, key); lane !== undefined && !found.includes(key); ) {
    found.push(key)
    const next = IntMap.get(version.lanes, lane.next)
    if (next?.previous !== key) return found
    key = lane.next
    lane = next
  }
  return key === turn ? found : []
}

const isSoonEnough = (state: State, requests: ReadonlyArray<RequestState>): boolean => {
  const earliest = Math.min(Number.POSITIVE_INFINITY, ...requests.map(dueMs))
  return (DueMap.nextMs(state.requests) ?? Number.POSITIVE_INFINITY) <= Math.ceil(earliest)
}

const byNumber = (one: number, other: number): number => one - other

const inVersion = (requests: ReadonlyArray<{ readonly version: number }>, version: number) =>
  requests.filter((request) => request.version === version).length

const dues = (index: DueIndex.DueIndex): ReadonlyArray<string> => {
  const found: Array<string> = []
  DueIndex.forEach(index, (ids, atMs) => {
    for (const id of IntSet.toArray(ids)) found.push(`${atMs}:${id}`)
  })
  return found.sort()
}
