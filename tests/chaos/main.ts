/**
 * `npm run chaos -- COMMAND [--json] ...`: kills Millrace while it works, and checks what callers and functions saw.
 * Lines for people go to stderr, one JSON object is the last line of stdout. Ends with 1 when anything was wrong, or when
 * the control, which loses on purpose, was not caught.
 *
 * @module
 */
import { parseArgs } from "node:util"
import type { Verdict } from "../history/Checker.ts"
import * as Kills from "./Kills.ts"

const say = (line: string) => process.stderr.write(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${line}\n`)

const usage = `npm run chaos -- kill [--requests N] [--kills K] [--seed S] [--json]`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean" },
    requests: { type: "string", default: "2000" },
    kills: { type: "string", default: "20" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) }
  }
})

const count = (verdicts: ReadonlyArray<Verdict>, law: Verdict["law"]) =>
  verdicts.filter((verdict) => verdict.law === law).length

const shownMax = 30

const kill = async (): Promise<boolean> => {
  const [requests, kills, seed] = [Number(values.requests), Number(values.kills), Number(values.seed)]
  say(`${requests} calls, ${kills} kills, seed ${seed}`)
  const report = await Kills.run({ requests, kills, seed, durability: "accepted", callers: 32, say })
  const { counts, verdicts, killed, seconds } = report
  for (const verdict of verdicts.slice(0, shownMax)) {
    say(`${verdict.law}${verdict.where === undefined ? "" : ` (${verdict.where})`}: ${verdict.about}: ${verdict.what}`)
  }
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

const commands: Readonly<Record<string, () => Promise<boolean>>> = { kill }

const command = commands[positionals[0] ?? ""]
if (command === undefined) {
  say(usage)
  process.exitCode = 1
} else if (!(await command())) process.exitCode = 1
