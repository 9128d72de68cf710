/**
 * Every host of an installation is killed, paused and cut off in turn while calls of every kind come in at all gateways;
 * then everything that was promised is claimed and the history is checked.
 *
 * A fault lasts up to twice as long as the leases of what it strikes, so that both happen: it is back before others have
 * taken over, and after. The next one comes when each shard accepts again, what was killed is ready again and NATS has all
 * its copies; with `isHurried` it does not wait for those, so that faults meet elections of the fault before.
 *
 * @module
 */
import { join } from "node:path"
import * as RequestId from "../../../src/planes/invocation/RequestId.ts"
import { type Counts, check, type Verdict } from "../../history/Checker.ts"
import { carryOut, claimUntilEnded, makeAgent, type Plan, type World } from "../Caller.ts"
import { monotonicMs } from "../Clock.ts"
import { explain } from "../Explain.ts"
import { planOf } from "../Kills.ts"
import * as Random from "../Random.ts"
import { Recording } from "../Recording.ts"
import * as Installation from "./Installation.ts"
import * as Network from "./Network.ts"
import * as StaleAcks from "./StaleAcks.ts"

export type Target =
  | "streamLeader"
  | "shardOwner"
  | "natsServer"
  | "controlLeader"
  | "controlStandby"
  | "agent"
  | "cluster"
  | "allControls"
  | "allNats"
export type Blow = "killed" | "paused" | "cutOff"

export interface Fault {
  readonly target: Target
  readonly blow: Blow
  /** How long; absent: by chance. */
  readonly ms?: number
}

export interface Options {
  readonly faults: ReadonlyArray<Fault>
  readonly seed: number
  readonly callers: number
  readonly isHurried?: boolean
  readonly say: (line: string) => void
}

export interface Pause extends Fault {
  /** Of each shard: until a request that came after the fault was accepted. */
  readonly eachMs: ReadonlyArray<number>
  /** Until another copy of the control plane led; absent: the leader was not struck, or was back before. */
  readonly ledAgainMs?: number
}

export interface Report {
  /** Acks of leases that were over. */
  readonly stale: StaleAcks.Outcome
  readonly counts: Counts
  readonly verdicts: ReadonlyArray<Verdict>
  readonly explained: ReadonlyArray<string>
  readonly pauses: ReadonlyArray<Pause>
  /** Left out because hosts cannot be cut off here. */
  readonly leftOut: number
  /** What was struck and what it was, in order. */
  readonly struck: Readonly<Record<string, number>>
  readonly seconds: number
}

/** Functions at the most until each shard has one. */
const functionsMax = 40
const explainedMax = 10
/** Between two calls of a caller: what is struck takes the time that it needs, not what a full machine leaves of it. */
const thinkMaxMs = 500
const servedAgainMaxMs = 60_000
const settleMs = 180_000
const wholeMaxMs = 60_000
const blowMinMs = 500
const blowMaxMs = 9_000
const outageMaxMs = 2_000
/** Longer than a lease and the opening of a shard: then it is told what the gateways said meanwhile. */
const slowMs = 3_000

const recorder = join(import.meta.dirname, "../recorder.ts")
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Each kind of host once, by one blow or another: for a run of a minute. */
export const small: ReadonlyArray<Fault> = [
  { target: "streamLeader", blow: "killed" },
  { target: "shardOwner", blow: "cutOff" },
  { target: "cluster", blow: "cutOff" },
  { target: "shardOwner", blow: "killed" },
  { target: "controlLeader", blow: "paused" },
  { target: "allNats", blow: "killed" }
]

/** Each of the targets by each blow: the leader of a stream and the owner of a shard `many` times, the others `few`. */
export const schedule = (random: Random.Random, many: number, few: number): ReadonlyArray<Fault> => {
  const blows: ReadonlyArray<Blow> = ["killed", "paused", "cutOff"]
  const times = (target: Target, count: number): ReadonlyArray<Fault> =>
    Array.from({ length: count }, (_, index) => ({ target, blow: blows[index % blows.length] ?? "killed" }))
  const faults = [
    ...times("streamLeader", many),
    ...times("shardOwner", many),
    ...(
      ["natsServer", "controlLeader", "controlStandby", "agent", "cluster", "allControls", "allNats"] as const
    ).flatMap((target) => times(target, few))
  ]
  return shuffled(random, faults)
}

const shuffled = <A>(random: Random.Random, all: ReadonlyArray<A>): ReadonlyArray<A> => {
  const left = [...all]
  const out: Array<A> = []
  while (left.length > 0) out.push(...left.splice(random.below(left.length), 1))
  return out
}

export const run = async (options: Options): Promise<Report> => {
  const startedMs = monotonicMs()
  const network = Network.make()
  const faults = options.faults.filter(({ blow }) => network.canCut || blow !== "cutOff")
  let ended: string | undefined
  const installation = await Installation.start(network, (why) => {
    ended ??= why
  })
  try {
    const report = await strikeAll({ ...options, faults }, installation, () => ended)
    return {
      ...report,
      leftOut: options.faults.length - faults.length,
      seconds: Math.round((monotonicMs() - startedMs) / 1_000)
    }
  } finally {
    await installation.close()
  }
}

/** For each shard a function that is in it, and one whose requests keep their order. */
const deploy = async (installation: Installation.Installation, world: World, promised: Array<string>) => {
  const deployOne = (name: string, deployment: Readonly<Record<string, unknown>>) =>
    installation.deploy(name, {
      command: ["node", recorder],
      environment: { RECORDER_PLANE: "epoch" },
      deployment: { graceMs: 500, idleWindowMs: 120_000, maxAttempts: 100, ...deployment }
    })
  await deployOne("lane", { maxInstances: 1, concurrency: 1 })
  const byShard = new Map<number, string>()
  for (let index = 0; byShard.size < Installation.shardCount && index < functionsMax; index++) {
    const name = `any-${index}`
    await deployOne(name, { maxInstances: 2 })
    const requestId = await accepted(world, name)
    promised.push(requestId)
    const shard = RequestId.shardOf(requestId, Installation.shardCount)
    if (!byShard.has(shard)) byShard.set(shard, name)
  }
  if (byShard.size < Installation.shardCount) throw new Error(`${functionsMax} functions left a shard without one`)
  return byShard
}

let probes = 0
/** The id of an asynchronous request that this function's shard has accepted. */
const accepted = async (world: World, path: string): Promise<string> => {
  const endMs = monotonicMs() + servedAgainMaxMs
  for (;;) {
    const item = `probe-${probes++}`
    const plan: Plan = {
      item,
      path,
      isAsync: true,
      key: undefined,
      order: { item, ms: 0, bytes: 10, pieces: 0, padding: "" },
      leaveAfterMs: undefined,
      deadlineMs: undefined,
      claimsAtOnce: false
    }
    const requestId = await carryOut(world, plan)
    if (requestId !== undefined) return requestId
    if (monotonicMs() > endMs) throw new Error(`${path} accepted nothing for ${servedAgainMaxMs} ms`)
    await sleep(20)
  }
}

const strikeAll = async (
  { faults, seed, callers, isHurried = false, say }: Options,
  installation: Installation.Installation,
  ended: () => string | undefined
): Promise<Omit<Report, "leftOut" | "seconds">> => {
  const random = Random.make(seed)
  const recording = new Recording(installation.home)
  /** Where no call is sent, as whoever balances load between gateways would find out. */
  const struckGateways = new Set<Installation.Member>()
  const world: World = {
    recording,
    gatewayUrl: async () => random.pick(installation.gateways.filter((one) => !struckGateways.has(one)))!.address(),
    agent: makeAgent()
  }
  say("the hosts are up")
  const promised: Array<string> = []
  const byShard = await deploy(installation, world, promised)
  const names = [...byShard.values()]
  say(`functions: ${[...byShard].map(([shard, name]) => `${name} in shard ${shard}`).join(", ")}`)

  let isOver = false
  let next = 0
  const caller = async () => {
    while (!isOver) {
      const plan = planOf(random, next++)
      const path = plan.path === "lane" ? "lane" : (names[next % names.length] ?? "lane")
      const requestId = await carryOut(world, { ...plan, path })
      if (requestId !== undefined) promised.push(requestId)
      await sleep(random.below(thinkMaxMs))
    }
  }
  const calling = Promise.all(Array.from({ length: callers }, caller))
  // It is waited for at the end; what goes wrong with it meanwhile is told there.
  calling.catch(() => {})

  const pauses: Array<Pause> = []
  const struck: Record<string, number> = {}
  for (const [index, fault] of faults.entries()) {
    if (!isHurried) await untilWhole(installation)
    await sleep(random.below(1_500))
    const shard = random.below(Installation.shardCount)
    const members = await targetsOf(installation, random, fault.target, shard)
    const isAlone = fault.target === "agent"
    for (const member of members) struckGateways.add(member)
    recording.see({ _tag: "Crashed" })
    // All at once and back: while none is there nothing can be accepted.
    const longestMs = fault.target === "allNats" ? outageMaxMs : blowMaxMs
    const blowMs = fault.ms ?? blowMinMs + random.below(longestMs - blowMinMs)
    const sinceMs = monotonicMs()
    const sinceWall = new Date().toISOString()
    const healed = strike(members, fault.blow, blowMs, isAlone)
    await healed.begun
    const begunWall = new Date().toISOString()
    const timesMs = (fromMs: number) =>
      Promise.all(
        names.map(async (name) => {
          promised.push(await accepted(world, name))
          return monotonicMs() - fromMs
        })
      )
    const ledAgain = fault.target === "controlLeader" ? anotherLeads(installation, members, healed.over) : undefined
    const servedMs = [...(await timesMs(sinceMs))]
    // While a long one lasts, every second.
    while (fault.ms !== undefined && monotonicMs() < sinceMs + fault.ms) {
      await sleep(1_000)
      servedMs.push(...(await timesMs(monotonicMs())))
    }
    await healed.over
    const ledAtMs = await ledAgain
    pauses.push({ ...fault, eachMs: servedMs, ...(ledAtMs === undefined ? {} : { ledAgainMs: ledAtMs - sinceMs }) })
    recording.see({ _tag: "Crashed" })
    for (const member of members) struckGateways.delete(member)
    const what = `${fault.target} ${fault.blow}`
    struck[what] = (struck[what] ?? 0) + 1
    const who = members.map(({ name }) => name).join(", ")
    const each = servedMs.slice(0, names.length).map(Math.round).join(", ")
    say(`${index + 1}/${faults.length} ${what} (${who}): shards accept again after ${each} ms, ${next} calls so far`)
    if (Math.max(...servedMs) > slowMs) {
      say(`    struck at ${sinceWall.slice(17)}, until ${begunWall.slice(17)}`)
      for (const line of whatMoved(installation, sinceWall)) say(`    ${line}`)
    }
    const why = ended()
    if (why !== undefined) throw new Error(why)
  }
  isOver = true
  await calling
  say("the acks of a worker that stood still")
  const stale = await StaleAcks.run({ installation, world, promised, struckGateways })
  say(`${stale.sent} acks of leases that were over, ${stale.refused} refused`)
  say(`all calls are made: claiming ${promised.length}`)
  const left = [...promised]
  const claimer = async () => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) await claimUntilEnded(world, id, settleMs)
  }
  await Promise.all(Array.from({ length: 64 }, claimer))
  world.agent.destroy()
  const history = recording.history()
  const { counts, verdicts } = check(history)
  const explained = verdicts.slice(0, explainedMax).flatMap((verdict) => explain(history, verdict))
  return { counts, verdicts, explained, pauses, struck, stale }
}

/** NATS has a leader and all copies of everything. */
const untilWhole = async ({ notWhole }: Installation.Installation): Promise<void> => {
  for (const endMs = monotonicMs() + wholeMaxMs; ; await sleep(100)) {
    const left = await notWhole()
    if (left?.length === 0) return
    if (monotonicMs() > endMs) {
      throw new Error(`NATS is not whole again after ${wholeMaxMs} ms: ${left?.join(", ") ?? "it does not answer"}`)
    }
  }
}

/** When a copy that was not struck led; undefined: not before all was well again. */
const anotherLeads = async (
  { controlLeader }: Installation.Installation,
  struck: ReadonlyArray<Installation.Member>,
  over: Promise<void>
): Promise<number | undefined> => {
  let isOver = false
  over.then(
    () => {
      isOver = true
    },
    () => {}
  )
  while (!isOver) {
    const leader = controlLeader()
    if (leader !== undefined && !struck.includes(leader)) return monotonicMs()
    await sleep(20)
  }
  return undefined
}

/** What gateways said of their shards since then, for whoever wonders what took so long. */
const whatMoved = ({ gateways }: Installation.Installation, sinceWall: string): ReadonlyArray<string> =>
  gateways
    .flatMap(({ name, lines }) =>
      lines().flatMap(({ at, message }) =>
        typeof at === "string" && at >= sinceWall && message !== undefined
          ? [`${at.slice(17)} ${name} ${JSON.stringify(message).slice(0, 300)}`]
          : []
      )
    )
    .sort()

const targetsOf = async (
  { nats, agents, controls, streamLeader, shardOwner, controlLeader }: Installation.Installation,
  random: Random.Random,
  target: Target,
  shard: number
): Promise<ReadonlyArray<Installation.Member>> => {
  const one = (member: Installation.Member | undefined, others: ReadonlyArray<Installation.Member>) => {
    const found = member ?? random.pick(others)
    if (found === undefined) throw new Error(`there is nothing to strike as ${target}`)
    return [found]
  }
  switch (target) {
    case "streamLeader":
      return one(await streamLeader(shard), nats)
    case "natsServer": {
      const leader = await streamLeader(shard)
      return one(
        undefined,
        nats.filter((member) => member !== leader)
      )
    }
    case "allNats":
      return nats
    case "allControls":
      return controls
    case "shardOwner":
      return one(shardOwner(shard), [])
    case "controlLeader":
      return one(controlLeader(), controls)
    case "controlStandby": {
      const leader = controlLeader()
      return one(
        undefined,
        controls.filter((member) => member !== leader)
      )
    }
    case "agent":
    case "cluster":
      return one(undefined, agents)
  }
}

/** `begun`: it is struck; `over`: it is back and ready. */
const strike = (
  members: ReadonlyArray<Installation.Member>,
  blow: Blow,
  ms: number,
  isAlone: boolean
): { readonly begun: Promise<void>; readonly over: Promise<void> } => {
  switch (blow) {
    case "killed": {
      const begun = Promise.all(members.map((member) => (isAlone ? member.killAlone() : member.kill()))).then(() => {})
      const over = begun
        .then(() => sleep(ms))
        .then(() => Promise.all(members.map((member) => member.start())))
        .then(() => {})
      return { begun, over }
    }
    case "paused": {
      const pids = members.flatMap((member) => (isAlone ? member.pids().slice(0, 1) : member.pids()))
      Installation.signalAll(pids, "SIGSTOP")
      return { begun: Promise.resolve(), over: sleep(ms).then(() => Installation.signalAll(pids, "SIGCONT")) }
    }
    case "cutOff": {
      for (const { host } of members) host.cut()
      return {
        begun: Promise.resolve(),
        over: sleep(ms).then(() => {
          for (const { host } of members) host.join()
        })
      }
    }
  }
}
