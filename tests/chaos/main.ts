/**
 * `npm run chaos -- COMMAND [--json] ...`: kills Millrace while it works, and checks what callers and functions saw.
 * Lines for people go to stderr, one JSON object is the last line of stdout. Ends with 1 when anything was wrong, or when
 * the control, which loses on purpose, was not caught.
 *
 * @module
 */
import { parseArgs } from "node:util"
import { quantile } from "../../bench/Statistics.ts"
import { fuseMissing } from "../faults/power-cut/Fuse.ts"
import * as PowerCuts from "../faults/power-cut/PowerCuts.ts"
import { skipWithout } from "../faults/Tools.ts"
import * as BadWeather from "../faults/tcp/BadWeather.ts"
import type { Verdict } from "../history/Checker.ts"
import { natsIsMissing } from "../services/RunningNats.ts"
import * as CrashPoints from "./CrashPoints.ts"
import * as HostFaults from "./hosts/HostFaults.ts"
import * as Network from "./hosts/Network.ts"
import * as Promises from "./hosts/Promises.ts"
import * as Kills from "./Kills.ts"
import * as Random from "./Random.ts"
import * as SeedsCommand from "./seeds/SeedsCommand.ts"

const say = (line: string) => process.stderr.write(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${line}\n`)

const usage = `npm run chaos -- kill [--requests N] [--kills K] [--seed S] [--json]
npm run chaos -- crash-points [--k N] [--part 1/6|all] [--point NAME] [--json]
npm run chaos -- power-cut [--cuts N] [--seed S] [--json]
npm run chaos -- network [--requests N] [--seed S] [--json]
npm run chaos -- nats [--kills K [--target T] | --small | --control-down S] [--hurried] [--callers N] [--seed S] [--json]
npm run chaos -- seeds [--count N] [--seed S] [--json]`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean" },
    /** Of the times that a life comes to a place, how many are tried. */
    k: { type: "string", default: "5" },
    /** Such as 2/6: every sixth of the cases, from the second on. */
    part: { type: "string" },
    /** Beginning of the names of places. */
    point: { type: "string" },
    requests: { type: "string", default: "2000" },
    kills: { type: "string", default: "20" },
    /** Few faults of hosts, each kind once. */
    small: { type: "boolean", default: false },
    /** Seconds for which there is no control plane at all, and no other fault. */
    "control-down": { type: "string", default: "0" },
    /** Only these hosts, such as shardOwner. */
    target: { type: "string" },
    /** The next fault does not wait until NATS has all its copies again. */
    hurried: { type: "boolean", default: false },
    callers: { type: "string", default: "16" },
    cuts: { type: "string", default: "200" },
    /** Simulated worlds, from that seed on. */
    count: { type: "string", default: "300" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) }
  }
})

const count = (verdicts: ReadonlyArray<Verdict>, law: Verdict["law"]) =>
  verdicts.filter((verdict) => verdict.law === law).length

const kill = async (): Promise<boolean> => {
  const [requests, kills, seed] = [Number(values.requests), Number(values.kills), Number(values.seed)]
  say(`${requests} calls, ${kills} kills, seed ${seed}`)
  const report = await Kills.run({ requests, kills, seed, durability: "accepted", callers: 32, say })
  const { counts, verdicts, explained, killed, seconds } = report
  for (const line of explained) say(line)
  say("the control: the same with durability `memory`, which must lose")
  const control = await Kills.run({ requests: 300, kills: 6, seed, durability: "memory", callers: 32, say })
  const controlLost = count(control.verdicts, "lost")
  if (controlLost === 0) say("VOID: the control lost nothing, so this run proves nothing")
  const { accepted, claimable, ...others } = counts
  const figures = {
    accepted,
    lost: count(verdicts, "lost"),
    doubled: count(verdicts, "doubled"),
    claimable,
    otherVerdicts: verdicts.length - count(verdicts, "lost") - count(verdicts, "doubled"),
    controlLost,
    isVoid: controlLost === 0,
    killed,
    ...others,
    seed,
    seconds: Math.round(seconds)
  }
  process.stdout.write(`${values.json === true ? JSON.stringify(figures) : JSON.stringify(figures, null, 2)}\n`)
  return verdicts.length === 0 && controlLost > 0
}

/** Over so many days all cases are tried. */
const partsDefault = 6
const partOfToday = () => `${(Math.floor(Date.now() / 86_400_000) % partsDefault) + 1}/${partsDefault}`

const crashPoints = async (): Promise<boolean> => {
  const part = values.part ?? partOfToday()
  const [first = 1, parts = 1] = part === "all" ? [] : part.split("/").map(Number)
  if (!(first >= 1 && first <= parts)) {
    say(`--part ${part} is no part: it is 1/6 to 6/6, or of another number of parts, or all`)
    return false
  }
  const ground = await CrashPoints.prepare()
  try {
    const points = await CrashPoints.learn(ground)
    say(`${points.length} places`)
    for (const { name, story, count } of points) say(`  ${name} (${story}, ${count} times)`)
    const wanted = points.filter(({ name }) => values.point === undefined || name.startsWith(values.point))
    const cases = wanted
      .flatMap((point) =>
        Array.from({ length: Math.min(point.count, Number(values.k)) }, (_, k) => [point, k + 1] as const)
      )
      .filter((_, index) => index % parts === first - 1)
    say(`${cases.length} cases, part ${part} (--part all for all)`)
    let done = 0
    const results = await CrashPoints.dieAtAll(ground, cases, 2, ({ point, k, isReached, explained, seconds }) => {
      done++
      const fate = isReached ? "died" : "did not come to it"
      say(`${done}/${cases.length} ${point.name}:${k} ${fate}, ${seconds.toFixed(1)} s`)
      for (const line of explained) say(line)
    })
    const verdicts = results.flatMap((result) => result.verdicts)
    const figures = {
      points: points.length,
      cases: cases.length,
      died: results.filter(({ isReached }) => isReached).length,
      lost: count(verdicts, "lost"),
      doubled: count(verdicts, "doubled"),
      otherVerdicts: verdicts.length - count(verdicts, "lost") - count(verdicts, "doubled"),
      judged: results.filter((result) => result.verdicts.length > 0).map(({ point, k }) => `${point.name}:${k}`),
      notReached: results.filter(({ isReached }) => !isReached).map(({ point, k }) => `${point.name}:${k}`),
      seconds: Math.round(performance.now() / 1000)
    }
    process.stdout.write(`${values.json === true ? JSON.stringify(figures) : JSON.stringify(figures, null, 2)}\n`)
    return verdicts.length === 0
  } finally {
    ground.close()
  }
}

const powerCut = async (): Promise<boolean> => {
  const [cuts, seed] = [Number(values.cuts), Number(values.seed)]
  if (skipWithout("the power cut", fuseMissing())) {
    process.stdout.write(`${JSON.stringify({ cuts: 0, skipped: cuts })}\n`)
    return true
  }
  say(`${cuts} cuts, seed ${seed}`)
  const common = { seed, cutsPerStory: 10, callers: 8, say }
  const report = await PowerCuts.run({ ...common, cuts, synchronous: "full" })
  for (const line of [...report.unreadable, ...report.explained]) say(line)
  say("the control: a store that does not sync before it confirms, which must lose")
  const control = await PowerCuts.run({ ...common, cuts: 5, synchronous: "normal", survivals: ["lost"], cutAtMin: 300 })
  const controlLost = count(control.verdicts, "lost")
  if (controlLost === 0) say("VOID: the control lost nothing, so this run proves nothing")
  const { verdicts, unreadable, accepted, claimable, operations } = report
  const figures = {
    cuts: report.cuts,
    accepted,
    lost: count(verdicts, "lost"),
    doubled: count(verdicts, "doubled"),
    claimable,
    unreadable: unreadable.length,
    otherVerdicts: verdicts.length - count(verdicts, "lost") - count(verdicts, "doubled"),
    controlLost,
    isVoid: controlLost === 0,
    operations,
    seed,
    seconds: Math.round(report.seconds)
  }
  process.stdout.write(`${values.json === true ? JSON.stringify(figures) : JSON.stringify(figures, null, 2)}\n`)
  return verdicts.length === 0 && unreadable.length === 0 && controlLost > 0
}

const network = async (): Promise<boolean> => {
  const [requests, seed] = [Number(values.requests), Number(values.seed)]
  const places = [
    ["callers", "ws"],
    ["workers", "ws"],
    ["workers", "grpc"]
  ] as const
  const figures: Record<string, unknown> = { seed }
  let isGood = true
  for (const [where, transport] of places) {
    say(`${requests} calls, faults between ${where} and the gateway, workers over ${transport}, seed ${seed}`)
    const { counts, verdicts, explained, faults } = await BadWeather.run({ where, transport, requests, seed })
    for (const line of explained) say(line)
    isGood &&= verdicts.length === 0
    const { accepted, claimable, ...others } = counts
    figures[`${where}, ${transport}`] = {
      accepted,
      lost: count(verdicts, "lost"),
      doubled: count(verdicts, "doubled"),
      claimable,
      otherVerdicts: verdicts.length - count(verdicts, "lost") - count(verdicts, "doubled"),
      faults,
      ...others
    }
  }
  process.stdout.write(`${values.json === true ? JSON.stringify(figures) : JSON.stringify(figures, null, 2)}\n`)
  return isGood
}

const nats = async (): Promise<boolean> => {
  const seed = Number(values.seed)
  if (natsIsMissing) {
    process.stdout.write(`${JSON.stringify({ accepted: 0, skipped: true })}\n`)
    return true
  }
  const ended = Network.enter(say)
  if (ended !== undefined) return ended === 0
  const kills = Number(values.kills)
  // Each blow at least once.
  const few = Math.max(3, Math.round(kills / 5))
  const downS = Number(values["control-down"])
  const faults: ReadonlyArray<HostFaults.Fault> =
    downS > 0
      ? [{ target: "allControls", blow: "killed", ms: downS * 1_000 }]
      : values.small
        ? HostFaults.small
        : HostFaults.schedule(Random.make(seed), kills, few).filter(
            ({ target }) => values.target === undefined || target === values.target
          )
  say(`${faults.length} faults of 11 hosts, seed ${seed}`)
  const report = await HostFaults.run({ faults, seed, callers: Number(values.callers), isHurried: values.hurried, say })
  const { counts, verdicts, explained, pauses, struck, stale, leftOut, seconds } = report
  for (const line of explained) say(line)
  const { accepted, claimable, unknown, ...others } = counts
  const pausesMs = pauses.flatMap(({ eachMs }) => eachMs)
  // Of the slowest shard, since the dead one may have had any of them.
  const takeoversMs = pauses.flatMap(({ target, blow, eachMs }) =>
    target === "shardOwner" && blow !== "paused" ? [Math.max(...eachMs)] : []
  )
  const ledAgainMs = pauses.flatMap((pause) => pause.ledAgainMs ?? [])
  const figures = {
    accepted,
    lost: count(verdicts, "lost"),
    doubled: count(verdicts, "doubled"),
    unknown,
    pause_p50_ms: Math.round(quantile(pausesMs, 0.5)),
    pause_p99_ms: Math.round(quantile(pausesMs, 0.99)),
    pause_max_ms: Math.round(Math.max(...pausesMs)),
    takeover_p50_ms: Math.round(quantile(takeoversMs, 0.5)),
    takeover_p99_ms: Math.round(quantile(takeoversMs, 0.99)),
    ...(ledAgainMs.length === 0 ? {} : { leader_max_ms: Math.round(Math.max(...ledAgainMs)) }),
    stale_acks: stale.sent,
    stale_refused: stale.refused,
    claimable,
    otherVerdicts: verdicts.length - count(verdicts, "lost") - count(verdicts, "doubled"),
    struck,
    ...(leftOut === 0 ? {} : { leftOut }),
    ...others,
    seed,
    seconds
  }
  const broken = Promises.broken(figures)
  for (const sentence of broken) say(sentence)
  process.stdout.write(`${values.json === true ? JSON.stringify(figures) : JSON.stringify(figures, null, 2)}\n`)
  const isJudged = !values.small && !values.hurried
  return verdicts.length === 0 && stale.refused === stale.sent && !(isJudged && broken.length > 0)
}

const commands: Readonly<Record<string, () => Promise<boolean>>> = {
  kill,
  "crash-points": crashPoints,
  "power-cut": powerCut,
  network,
  nats,
  seeds: async () =>
    SeedsCommand.run({ first: Number(values.seed), count: Number(values.count), json: values.json, say })
}

const command = commands[positionals[0] ?? ""]
if (command === undefined) {
  say(usage)
  process.exitCode = 1
} else if (!(await command())) process.exitCode = 1
