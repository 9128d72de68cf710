/**
 * The tries themselves: what hinders nothing must let them happen, or a refusal says nothing.
 *
 * @module
 */
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { program } from "./syscallProgram.ts"
import { harmless, hasCalls, openHost, script } from "./tries.ts"

describe("tries at what is forbidden", () => {
  it.skipIf(process.platform !== "linux" || process.getuid?.() !== 0)(
    "are done by a process that nothing isolates [as root, on Linux]",
    async () => {
      const host = await openHost()
      const neighbour = spawn("sleep", ["60"], { env: { NEIGHBOUR: "secret-of-the-neighbour" } })
      try {
        const inside = {
          programs: undefined,
          socketFolder: "/none",
          neighbour: "secret-of-the-neighbour",
          only: harmless
        }
        const child = spawn(process.execPath, ["-e", script(host, inside)])
        let output = ""
        child.stdout.on("data", (chunk) => (output += chunk))
        await new Promise((resolve) => child.on("close", resolve))
        const results: Record<string, string> = JSON.parse(output.slice("tries ".length))
        expect(results).toEqual(Object.fromEntries(harmless.map((name) => [name, "done"])))
      } finally {
        neighbour.kill("SIGKILL")
        host.close()
      }
    }
  )

  it.skipIf(!hasCalls)(
    "a program of one call ends with 0 when the kernel did it, and else with the error's number",
    () => {
      const directory = mkdtempSync(join(tmpdir(), "mr-call-"))
      const path = join(directory, "call")
      const run = (content: Buffer) => {
        writeFileSync(path, content, { mode: 0o755 })
        return spawnSync(path).status
      }
      // chdir and getpid, then chdir to what is not there, and a call that does not exist.
      expect(run(program(80, ["/"]))).toBe(0)
      expect(run(program(39, []))).toBe(0)
      expect(run(program(80, ["/there/is/none"]))).toBe(2)
      expect(run(program(9_999, []))).toBe(38)
      rmSync(directory, { recursive: true })
    }
  )
})
