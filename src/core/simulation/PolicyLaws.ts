/**
 * Checks a policy that somebody wrote against the laws that every policy must keep, and finds the shortest history that
 * breaks one: all histories of up to three observations out of a small set, then long ones by lot, shortened as far as
 * they still break it.
 *
 * - `total`: it answers every history, with a number from 0 on, a reason, and a time to wake or null.
 * - `pure`: asked again with the same memory and observation it answers the same; it changes neither of them.
 * - `plain`: its memory is plain data: a copy by way of JSON goes on as the original does.
 * - `L14`: something pending or leased means at least one; unknown demand never lowers what is there.
 * - `L15`: a steady load settles: after two idle windows nothing changes any more.
 *
 * The bounds of L14 (`minInstances`, `maxInstances`) are kept by the scaling machine around every policy, so an answer
 * beyond them is no breach.
 *
 * @module
 */
import type { Decision, Observation, Policy, PolicySpec, Reading } from "../scaling/Policy.ts"
import * as Scaling from "../scaling/Scaling.ts"
import * as Random from "./Random.ts"

/** One line of a history: what came since the last one, and what the policy answered. */
export interface Seen {
  readonly byMs: number
  readonly pending: Reading
  readonly leased: Reading
}

export interface Line {
  readonly nowMs: number
  readonly seen: Seen
  readonly ready: number
  readonly desired: number
  readonly reason: string
}

export interface Breach {
  readonly law: "total" | "pure" | "plain" | "L14" | "L15"
  readonly what: string
  readonly history: ReadonlyArray<Line>
}

const spec: PolicySpec = { minInstances: 0, maxInstances: 20, concurrency: 2, idleWindowMs: 60_000 }

const pendings: ReadonlyArray<Reading> = [0, 1, 9, "unknown"]
const leaseds: ReadonlyArray<Reading> = [0, 1, 6, "unknown"]
const steps = [100, 1_000, 70_000]

const alphabet: ReadonlyArray<Seen> = steps.flatMap((byMs) =>
  pendings.flatMap((pending) => leaseds.map((leased) => ({ byMs, pending, leased })))
)

const exhaustiveLength = 2
const randomHistories = 60
const randomLength = 40

/** Undefined: no law was broken. `seed` decides the histories by lot. */
export const check = <Memory>(policy: Policy<Memory>, seed = 1): Breach | undefined => {
  for (let length = 1; length <= exhaustiveLength; length++) {
    for (const history of histories(length)) {
      const breach = replay(policy, history)
      if (breach !== undefined) return breach
    }
  }
  const random = Random.make(seed)
  for (let count = 0; count < randomHistories; count++) {
    const history = Array.from({ length: randomLength }, () => alphabet[Random.index(random, alphabet.length)]!)
    const breach = replay(policy, history)
    if (breach !== undefined) return shortened(policy, history, breach)
  }
  return settles(policy)
}

function* histories(length: number): Generator<ReadonlyArray<Seen>> {
  if (length === 0) {
    yield []
    return
  }
  for (const rest of histories(length - 1)) for (const seen of alphabet) yield [...rest, seen]
}

/** Takes out what the breach does not need: first halves, then single observations. */
const shortened = <Memory>(policy: Policy<Memory>, history: ReadonlyArray<Seen>, breach: Breach): Breach => {
  let best = breach
  let kept = history
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < kept.length; ) {
      const tried = [...kept.slice(0, from), ...kept.slice(from + size)]
      const found = replay(policy, tried)
      if (found !== undefined && found.law === best.law) {
        best = found
        kept = tried
      } else from += size
    }
  }
  return best
}

const observation = (seen: Seen, world: World): Observation => ({
  nowMs: world.nowMs,
  pending: seen.pending,
  leased: seen.leased,
  oldestPendingMs: seen.pending === "unknown" ? "unknown" : seen.pending > 0 ? 500 : null,
  arrivalsTotal: world.arrivals,
  ready: world.ready,
  starting: 0,
  draining: 0,
  slotsPerInstance: spec.concurrency,
  desired: world.desired,
  spec
})

interface World {
  nowMs: number
  arrivals: number
  /** What was desired is there one observation later. */
  ready: number
  desired: number
}

const replay = <Memory>(policy: Policy<Memory>, history: ReadonlyArray<Seen>): Breach | undefined => {
  const world: World = { nowMs: 1_000, arrivals: 0, ready: 0, desired: 0 }
  const lines: Array<Line> = []
  let memory = policy.empty
  for (const seen of history) {
    world.nowMs += seen.byMs
    if (seen.pending !== "unknown") world.arrivals += seen.pending
    const asked = observation(seen, world)
    const asker = ask(policy, memory, asked)
    const { decision } = asker
    const line = {
      nowMs: world.nowMs,
      seen,
      ready: world.ready,
      desired: decision?.desired ?? Number.NaN,
      reason: decision?.reason ?? ""
    }
    lines.push(line)
    if (asker.broken !== undefined) return { ...asker.broken, history: lines }
    const broken = unlawful(asker.decision, asked)
    if (broken !== undefined) return { ...broken, history: lines }
    memory = asker.memory
    world.desired = Scaling.lawful(asker.decision, asked).desired
    world.ready = world.desired
  }
  return undefined
}

type Broken = Omit<Breach, "history">

type Asked<Memory> =
  | { readonly broken: Broken; readonly decision?: Decision }
  | { readonly broken?: never; readonly memory: Memory; readonly decision: Decision }

const ask = <Memory>(policy: Policy<Memory>, memory: Memory, asked: Observation): Asked<Memory> => {
  const before = text(memory)
  const question = text(asked)
  try {
    const [next, decision] = policy.decide(memory, asked)
    if (text(memory) !== before) return { broken: { law: "pure", what: "it changed the memory that it was given" } }
    if (text(asked) !== question) return { broken: { law: "pure", what: "it changed the observation" } }
    const malformed = shapeOf(decision)
    if (malformed !== undefined) return { decision, broken: { law: "total", what: malformed } }
    const [again, same] = policy.decide(memory, asked)
    if (text([again, same]) !== text([next, decision])) {
      return { decision, broken: { law: "pure", what: "asked twice the same, it answered differently" } }
    }
    // Whatever JSON cannot carry is not plain data; the policy's own type says that this is its memory.
    const copy = next === undefined || next === null ? next : (JSON.parse(text(next)) as Memory)
    const onCopy = policy.decide(copy, asked)
    if (text(onCopy) !== text(policy.decide(next, asked))) {
      return { decision, broken: { law: "plain", what: "with a copy of its memory it answered differently" } }
    }
    return { memory: next, decision }
  } catch (cause) {
    return { broken: { law: "total", what: `it threw: ${cause instanceof Error ? cause.message : String(cause)}` } }
  }
}

const text = (value: unknown): string => JSON.stringify(value) ?? "undefined"

const shapeOf = (decision: Decision): string | undefined => {
  const { desired, reason, wakeAtMs } = decision
  if (typeof desired !== "number" || !Number.isFinite(desired) || desired < 0) {
    return `it answered ${String(desired)}, which is no number from 0 on`
  }
  if (typeof reason !== "string" || reason === "") return "it gave no reason"
  if (wakeAtMs !== null && (typeof wakeAtMs !== "number" || !Number.isFinite(wakeAtMs))) {
    return `it wants to be woken at ${String(wakeAtMs)}: a time in milliseconds, or null`
  }
  return undefined
}

const unlawful = ({ desired }: Decision, { pending, leased, ready, starting }: Observation): Broken | undefined => {
  if (pending === "unknown" || leased === "unknown") {
    const present = Math.min(ready + starting, spec.maxInstances)
    return Math.ceil(desired) < present
      ? { law: "L14", what: `the demand is unknown, ${present} instances are there, and it answered ${desired}` }
      : undefined
  }
  return pending + leased > 0 && Math.ceil(desired) < 1
    ? { law: "L14", what: `${pending} pending and ${leased} leased, and it answered ${desired}` }
    : undefined
}

/** A load that stays as it is, looked at each second, for four idle windows. */
const settles = <Memory>(policy: Policy<Memory>): Breach | undefined => {
  for (const leased of [0, 1, 3, 8]) {
    const world: World = { nowMs: 1_000, arrivals: 0, ready: 0, desired: 0 }
    const lines: Array<Line> = []
    let state = Scaling.empty(policy)
    const settledAtMs = world.nowMs + 2 * spec.idleWindowMs
    const endMs = world.nowMs + 4 * spec.idleWindowMs
    while (world.nowMs < endMs) {
      world.nowMs += 1_000
      const seen: Seen = { byMs: 1_000, pending: 0, leased }
      const before = state.desired
      const [next, commands] = Scaling.step(
        policy,
        state,
        Scaling.Event.Observed({ observation: observation(seen, world) })
      )
      state = next
      world.desired = next.desired
      const set = commands.find((command) => command._tag === "SetDesired")
      if (set !== undefined) {
        lines.push({ nowMs: world.nowMs, seen, ready: world.ready, desired: next.desired, reason: set.reason })
      }
      world.ready = next.desired
      if (world.nowMs <= settledAtMs || next.desired === before) continue
      const what =
        `${leased} leased all the time, and after two idle windows of ${spec.idleWindowMs} ms it still went from ` +
        `${before} to ${next.desired}`
      return { law: "L15", what, history: lines.slice(-3) }
    }
  }
  return undefined
}
