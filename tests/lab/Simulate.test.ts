/**
 * `millrace simulate` as a person calls it: whole processes on a small trace.
 */
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it, vi } from "vitest"
import * as Cli from "../../src/cli/Cli.ts"

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

let directory = ""
let trace = ""
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "millrace-simulate-"))
  trace = join(directory, "small.csv")
  const rows = Array.from(
    { length: 200 },
    (_, index) => `${index * 250},${index % 5 === 0 ? "b" : "a"},${300 + (index % 7) * 100}`
  )
  writeFileSync(trace, `arrival_ms,function,duration_ms\n${rows.join("\n")}\n`)
})
afterAll(() => rmSync(directory, { recursive: true }))

interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

const simulate = (...words: ReadonlyArray<string>): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--conditions=millrace-source", main, "simulate", ...words], {
      stdio: ["ignore", "pipe", "pipe"]
    })
    let out = ""
    let err = ""
    child.stdout.on("data", (chunk) => {
      out += chunk
    })
    child.stderr.on("data", (chunk) => {
      err += chunk
    })
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, out, err }))
  })

/** For calls that end before anything runs. */
const inProcess = async (...words: ReadonlyArray<string>): Promise<Pick<Ended, "code" | "err">> => {
  let err = ""
  const write = vi.spyOn(process.stderr, "write").mockImplementation((chunk) => {
    err += String(chunk)
    return true
  })
  try {
    return { code: await Cli.main(["simulate", ...words]), err }
  } finally {
    write.mockRestore()
  }
}

interface Answer {
  readonly requests: number
  readonly policies: ReadonlyArray<{
    readonly policy: string
    readonly hash: string
    readonly open: number
    readonly wait: { readonly p99: number }
    readonly instanceSeconds: number
    readonly ratioToOptimum: number | null
  }>
}

const answerOf = ({ code, out, err }: Ended): Answer => {
  assert.strictEqual(code, 0, err)
  // The command's own JSON; what is wrong with it fails the test that reads it.
  return JSON.parse(out) as Answer
}

describe("millrace simulate", () => {
  it("compares policies, the same way each time, and writes a page that needs nothing else", async () => {
    const page = join(directory, "report.html")
    const words = ["--trace", trace, "--policy", "demand,fixed:2,shadow(demand,knative)", "--seed", "7", "--json"]
    const [first, second] = await Promise.all([simulate(...words, "--html", page), simulate(...words)])
    const answer = answerOf(first)
    assert.deepStrictEqual(answer, answerOf(second))
    assert.strictEqual(first.err, "")
    assert.strictEqual(answer.requests, 200)
    assert.deepStrictEqual(
      answer.policies.map(({ policy, open }) => [policy, open]),
      [
        ["demand", 0],
        ["fixed 2", 0],
        ["shadow(demand,knative)", 0]
      ]
    )
    // The acting policy of a shadow does what it would do alone, though it is woken more often.
    const [demand, , shadow] = answer.policies
    assert.deepStrictEqual([shadow!.wait, shadow!.instanceSeconds], [demand!.wait, demand!.instanceSeconds])
    assert.isAbove(answer.policies[1]!.ratioToOptimum!, 1)
    const html = readFileSync(page, "utf8")
    assert.notMatch(html, /<script|src=|https?:/)
    assert.strictEqual(html.match(/<svg/g)?.length, 4)
  })

  it("runs a policy from a file, with faults, on another start model", async () => {
    const file = join(directory, "always-two.ts")
    writeFileSync(
      file,
      `export default {
        name: "always-two",
        empty: null,
        decide: (memory: null) => [memory, { desired: 2, reason: "two are enough", inputs: {}, wakeAtMs: null }]
      }\n`
    )
    const faults = ["--fault", "instance-dies@20s", "--fault", "partition@30s-40s:1", "--fault", "slow-start@0s-1m:2x3"]
    const answer = answerOf(
      await simulate("--trace", trace, "--policy", file, "--start-model", "2s", ...faults, "--json")
    )
    assert.strictEqual(answer.policies[0]!.policy, "always-two")
    assert.strictEqual(answer.policies[0]!.open, 0)
  })

  it("a policy that breaks a law is named with the law and the shortest history, and nothing is run", async () => {
    const file = join(directory, "sleepy.ts")
    writeFileSync(
      file,
      `export const policy = {
        name: "sleepy",
        empty: null,
        decide: (memory: null, { pending }: { pending: number | "unknown" }) =>
          [memory, { desired: pending === "unknown" ? 20 : pending, reason: "what waits", inputs: {}, wakeAtMs: null }]
      }\n`
    )
    const { code, out, err } = await simulate("--trace", trace, "--policy", file)
    assert.strictEqual(code, 1)
    assert.strictEqual(out, "")
    assert.match(err, /the policy sleepy breaks the law L14/)
    assert.match(err, /has 1 observation:\n {2}at 1\.1 s: pending 0, leased 1, ready 0 -> desired 0/)
  })

  it("says in one sentence what is wrong with the call, the trace or the clusters", async () => {
    const bad = join(directory, "bad.csv")
    writeFileSync(bad, "arrival_ms,function,duration_ms\n1,a,2\n2,a,soon\n")
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, number, RegExp]> = [
      [[], 2, /name the trace/],
      [["--trace", bad], 1, /bad\.csv, line 3: expected duration_ms to be a number from 0 on, found "soon"/],
      [["--trace", trace, "--policy", "demnad"], 2, /there is no policy demnad: there are demand, fixed/],
      [["--trace", trace, "--policy", '{"name":"knative","stableWindowMs":5}'], 2, /cannot be used/],
      [["--trace", trace, "--policy", "./nowhere.ts"], 1, /nowhere\.ts cannot be loaded/],
      [["--trace", trace, "--gpus", "4", "--gpus-per-instance", "8"], 1, /takes 8 GPUs on one node, and a node has 4/],
      [["--trace", trace, "--min-instances", "300"], 1, /at least 300 instances, and there is room for 256/],
      [
        ["--trace", trace, "--min-instances", "5", "--max-instances", "2"],
        1,
        /function b wants at least 5 and at most 2 instances/
      ],
      [["--trace", trace, "--fault", "meteor@5s"], 2, /is no fault/],
      [["--trace", trace, "--start-model", "slow"], 2, /there are process, lora, base-model/],
      [["--trace", trace, "--slots", "0"], 2, /--slots is 0/],
      [["--trace", trace, "--to", "soon"], 2, /write a time like/]
    ]
    for (const [words, expectedCode, expected] of cases) {
      const { code, err } = await inProcess(...words)
      assert.match(err, expected)
      assert.strictEqual(code, expectedCode, err)
      assert.notMatch(err, /\n\s+at .*\.ts/, "a stack trace")
    }
  })
})
