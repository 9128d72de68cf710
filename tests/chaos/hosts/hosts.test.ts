/**
 * Millrace on eleven hosts, each kind of which is killed, paused or cut off once under calls.
 */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { natsIsMissing } from "../../services/RunningNats.ts"

const seed = Number(process.env["MILLRACE_SEED"] ?? Date.now() % 1_000_000)
const main = join(import.meta.dirname, "../main.ts")

interface Figures {
  readonly accepted: number
  readonly claimable: number
  readonly lost: number
  readonly doubled: number
  readonly otherVerdicts: number
  readonly struck: Readonly<Record<string, number>>
  readonly leftOut?: number
  readonly stale_acks: number
  readonly stale_refused: number
}

const run = () =>
  new Promise<{ readonly code: unknown; readonly stdout: string; readonly stderr: string }>((resolve) => {
    // In a process of its own, which makes itself a network to cut.
    execFile(
      process.execPath,
      [main, "nats", "--small", "--seed", String(seed), "--json"],
      { maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr })
    )
  })

describe.skipIf(natsIsMissing)(
  `three NATS servers, three gateways, two control planes, three clusters (${seed})`,
  () => {
    it("lose and double nothing when hosts are killed, paused and cut off", async () => {
      const { code, stdout, stderr } = await run()
      assert.strictEqual(code, 0, stderr)
      // The last line of `npm run chaos`.
      const figures = JSON.parse(stdout.trim().split("\n").at(-1) ?? "{}") as Figures
      assert.deepInclude(figures, { lost: 0, doubled: 0, otherVerdicts: 0, claimable: figures.accepted })
      assert.deepInclude(figures, { stale_acks: 1_000, stale_refused: 1_000 })
      assert.isAbove(figures.accepted, 1_000)
      const struck = Object.values(figures.struck).reduce((sum, count) => sum + count, 0)
      assert.strictEqual(struck + (figures.leftOut ?? 0), 6)
    }, 240_000)
  }
)
