/**
 * Limits of the process backend on cgroup v2: a real Linux kernel that runs as a process of this machine (User-mode Linux,
 * Debian's `user-mode-linux`), with this machine's files read-only. So it is tested with both versions, whichever one the
 * machine has; `process-limits.test.ts` tests with that one.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { root } from "../support/TestPlatform.ts"

const places = [...(process.env["PATH"] ?? "").split(delimiter), join(homedir(), ".cache/millrace/user-mode-linux")]
const kernel = places.map((place) => join(place, "linux.uml")).find(existsSync)
const why = kernel === undefined ? "there is no linux.uml: install user-mode-linux" : undefined
const mark = "FACTS "

/** As the first process there: nothing can be written but what it mounts. */
const initOf = (program: string) => `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/mnt TMPDIR=/mnt
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /mnt
mount -t cgroup2 none /sys/fs/cgroup
${program}
echo o > /proc/sysrq-trigger
sleep 60
`

const boot = (init: string): Promise<string> =>
  new Promise((resolve) => {
    const words = [
      "mem=1G",
      "rootfstype=hostfs",
      "rootflags=/",
      "ro",
      `init=${init}`,
      "con0=fd:0,fd:1",
      "con=null",
      "quiet"
    ]
    // The terminal of whoever runs the tests is not its console.
    const child = spawn(kernel ?? "", words, { stdio: ["ignore", "pipe", "pipe"], detached: true })
    let said = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes: Buffer) => (said += String(bytes)))
    child.once("close", () => resolve(said))
    running.add(child.pid ?? 0)
  })
const running = new Set<number>()

describe.skipIf(why !== undefined)(`limits on cgroup v2${why === undefined ? "" : ` [skipped: ${why}]`}`, () => {
  mkdirSync(tmpdir(), { recursive: true })
  const directory = mkdtempSync(join(tmpdir(), "mr-uml-"))
  afterAll(() => {
    for (const pid of running) {
      try {
        process.kill(-pid, "SIGKILL")
      } catch {
        // It has powered off.
      }
    }
    rmSync(directory, { recursive: true, force: true })
  })

  it("memory, CPU and processes are limited there, an end by full memory is told, and no group is left", {
    timeout: 600_000
  }, async () => {
    const init = join(directory, "init")
    const program = join(root, "tests/backends/user-mode-linux/limits.ts")
    writeFileSync(init, initOf(`cd ${root} && ${process.execPath} ${program} 2>&1`), { mode: 0o755 })
    const said = await boot(init)
    const line = said.split(/\r?\n/).find((one) => one.startsWith(mark))
    expect(line, said).toBeDefined()
    expect(JSON.parse((line ?? "").slice(mark.length))).toEqual({
      limits: ["cpu", "memory"],
      figures: { memory: String(300 * 1024 * 1024), cpu: "1000 10000", processes: "512" },
      wasHeldBack: true,
      childKilled: { kind: "out-of-memory" },
      // It did its work all the same.
      childKilledAndLivedOn: { kind: "code", code: 0 },
      tooSmall: { kind: "out-of-memory" },
      after: { kind: "code", code: 7 },
      groupsLeft: 0
    })
  })
})
