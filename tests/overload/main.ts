/**
 * `npm run overload -- COMMAND [--json] ...`: more than there is room for, and who holds room for nothing. Lines for
 * people go to stderr, one JSON object is the last line of stdout. Ends with 1 when a bound was broken.
 *
 * @module
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Callers, quantile } from "./Load.ts"
import * as Overload from "./Overload.ts"
import * as Pending from "./Pending.ts"
import * as PlatformProcess from "./PlatformProcess.ts"
import * as SlowClients from "./SlowClients.ts"
import * as Streams from "./Streams.ts"

const say = (line: string) => process.stderr.write(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${line}\n`)

const usage = `npm run overload -- storm [--seconds N] [--factor N] [--json]
npm run overload -- pending [--count N] [--json]
npm run overload -- restart [--count N] [--json]
npm run overload -- streams [--count N] [--seconds N] [--json]
npm run overload -- slow-clients [--count N] [--json]`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean" },
    seconds: { type: "string" },
    factor: { type: "string", default: "10" },
    count: { type: "string" }
  }
})

/** Figures, and the bounds that they break. */
interface Report {
  readonly figures: object
  readonly broken: ReadonlyArray<string>
}

const broken = (bounds: Readonly<Record<string, boolean>>): ReadonlyArray<string> =>
  Object.entries(bounds).flatMap(([name, holds]) => (holds ? [] : [name]))

const storm = async (): Promise<Report> => {
  const figures = await Overload.run({ seconds: Number(values.seconds ?? 60), factor: Number(values.factor), say })
  return {
    figures,
    broken: broken({
      "accepted work keeps 90 % of its pace": figures.keptShare >= 0.9,
      "every refusal says when to come again": figures.withoutRetryAfter === 0 && figures.others === 0,
      "memory stays below 1.2 times": figures.memoryShare <= 1.2,
      "normal again within 10 s": figures.normalAfterMs <= 10_000
    })
  }
}

const pending = async (): Promise<Report> => {
  const figures = await Pending.memory({ count: Number(values.count ?? 100_000), bodyBytes: 100, restMs: 15_000, say })
  return {
    figures,
    broken: broken({
      "at most 1 KiB each": figures.bytesEach <= 1024,
      "at most 1 KiB each after a restart": figures.readBackBytesEach <= 1024,
      "all are there after it": figures.readBack === figures.pending
    })
  }
}

const restart = async (): Promise<Report> => {
  const figures = await Pending.restart({ count: Number(values.count ?? 10_000), say })
  return {
    figures,
    broken: broken({
      "all are there": figures.found === figures.accepted,
      "the first is delivered within 5 s": figures.firstDeliveredMs <= 5_000
    })
  }
}

const streams = async (): Promise<Report> => {
  const events = Number(values.seconds ?? 20)
  const figures = await Streams.run({ streams: Number(values.count ?? 2_000), events, everyMs: 1_000, say })
  return { figures, broken: broken({ "every stream came whole": figures.whole === figures.streams }) }
}

/** Debian's `slowhttptest` against the same platform, where it is there. */
const slowHttpTest = (url: string, count: number): string => {
  const tests = [["-H"], ["-B"]]
  const codes = tests.map((mode) => {
    const args = [...mode, "-c", String(count), "-i", "10", "-r", "500", "-l", "60", "-p", "5", "-t", "POST", "-u", url]
    return spawnSync("slowhttptest", args, { encoding: "utf8", timeout: 120_000 })
  })
  if (codes.some(({ error }) => error !== undefined)) {
    say("SKIPPED: slowhttptest is not installed (Debian: apt-get install slowhttptest); our own client ran")
    return "skipped"
  }
  // It paints its words.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is taken out
  const plain = (text: string) => text.replace(/\u001b\[[0-9;]*[A-Za-z]/g, "")
  return codes.map(({ stdout }) => /service available:\s+(YES|NO)/.exec(plain(stdout))?.[1] ?? "?").join(" ")
}

const slowClients = async (): Promise<Report> => {
  const count = Number(values.count ?? 2_000)
  const stateDirectory = mkdtempSync(join(tmpdir(), "millrace-slow-"))
  const platform = await PlatformProcess.start({ stateDirectory, deployment: { minInstances: 1 } })
  try {
    const url = platform.gatewayUrl
    const callers = new Callers(`${url}/f/other/sleep?ms=1`, 4)
    await callers.call()
    const slow = SlowClients.start({ url, path: "/f/load/count", count, everyMs: 5_000, batch: 20 })
    let over = false
    let openMax = 0
    const cutting = slow.cuts.finally(() => {
      over = true
    })
    const normal = await callers.closedLoop(4, () => {
      openMax = Math.max(openMax, slow.open())
      return over
    })
    const cuts = await cutting
    callers.close()
    const latest = Math.max(...cuts.map(({ afterMs }) => afterMs))
    const figures = {
      connections: cuts.length,
      openMax,
      cutWithinMs: Math.round(latest),
      told408: cuts.filter(({ said }) => said.includes(" 408 ")).length,
      normalCalls: normal.length,
      normalFailed: normal.filter(({ status }) => status !== 200).length,
      normalP99Ms: Math.round(
        quantile(
          normal.map(({ ms }) => ms),
          0.99
        )
      ),
      left: await platform.memory().then(({ pending, leased }) => pending + leased),
      slowhttptest: slowHttpTest(`${url}/f/load/count`, count)
    }
    return {
      figures,
      broken: broken({
        "all are cut within 30 s": figures.connections === count && latest <= 30_000,
        "normal calls go on": figures.normalFailed === 0 && figures.normalCalls > 100,
        "nothing of them is left": figures.left === 0,
        "slowhttptest finds the service there": !figures.slowhttptest.includes("NO")
      })
    }
  } finally {
    await platform.kill()
    rmSync(stateDirectory, { recursive: true, force: true })
  }
}

const commands: Readonly<Record<string, () => Promise<Report>>> = {
  storm,
  pending,
  restart,
  streams,
  "slow-clients": slowClients
}

const command = commands[positionals[0] ?? ""]
if (command === undefined) {
  say(usage)
  process.exitCode = 1
} else {
  const report = await command()
  for (const bound of report.broken) say(`BROKEN: ${bound}`)
  const figures = { ...report.figures, broken: report.broken }
  process.stdout.write(`${values.json === true ? JSON.stringify(figures) : JSON.stringify(figures, null, 2)}\n`)
  if (report.broken.length > 0) process.exitCode = 1
}
