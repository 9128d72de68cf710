import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import * as Millrace from "../support/MillraceProcess.ts"
import { eventually, root } from "../support/TestPlatform.ts"

const directories: Array<string> = []
const processes: Array<Millrace.MillraceProcess> = []

afterEach(async () => {
  await Promise.all(processes.splice(0).map((millrace) => millrace.stop("SIGKILL")))
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

/** Inside the repository, so that a function finds `millrace/worker`. */
const workspace = () => {
  mkdirSync(join(root, "tests/.tmp"), { recursive: true })
  const directory = mkdtempSync(join(root, "tests/.tmp/dev-"))
  directories.push(directory)
  return directory
}

const writeFunction = (directory: string, answer: string, deployment: object = {}) => {
  writeFileSync(
    join(directory, "server.ts"),
    `import { serve } from "millrace/worker"
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
serve({
  fetch: async (request: Request) => {
    const ms = Number(new URL(request.url).searchParams.get("ms") ?? 0)
    await sleep(ms)
    return Response.json({ answer: ${JSON.stringify(answer)}, pid: process.pid })
  }
})
`
  )
  writeFileSync(
    join(directory, "millrace.json"),
    JSON.stringify({ name: "greet", entry: "./server.ts", deployment: { idleWindowMs: 5_000, ...deployment } })
  )
}

const start = (
  command: "dev" | "up",
  directory: string,
  state = join(directory, ".millrace"),
  more: Array<string> = []
) => {
  const millrace = Millrace.start([command, directory, "--state", state, "--json", ...more])
  processes.push(millrace)
  return millrace
}

const ready = async (millrace: Millrace.MillraceProcess) => {
  const line = await millrace.line("ready", ({ event }) => event === "ready")
  return { gateway: String(line.gateway), control: String(line.control) }
}

const call = async (url: string): Promise<{ answer: string; pid: number }> => {
  const response = await fetch(url)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${response.status} ${text}`)
  return JSON.parse(text)
}

describe("millrace dev", () => {
  it("starts with nothing running, wakes a function by its first call, and leaves nothing behind after Ctrl-C", async () => {
    const directory = workspace()
    writeFunction(directory, "one")
    const millrace = start("dev", directory)
    const { gateway } = await ready(millrace)
    expect(millrace.lines.filter(({ event }) => event === "instance")).toEqual([])
    const first = await call(`${gateway}/f/greet`)
    expect(first.answer).toBe("one")
    expect((await call(`${gateway}/f/greet`)).pid).toBe(first.pid)
    expect(Millrace.isAlive(first.pid)).toBe(true)
    expect(await millrace.stop("SIGINT")).toEqual({ code: 0, signal: null })
    await eventually("the instance is gone", () => !Millrace.isAlive(first.pid) || undefined)
  })

  it("leaves no instance behind when it is killed", async () => {
    const directory = workspace()
    writeFunction(directory, "one")
    const millrace = start("dev", directory)
    const { gateway } = await ready(millrace)
    const { pid } = await call(`${gateway}/f/greet`)
    await millrace.stop("SIGKILL")
    await eventually("the instance is gone", () => !Millrace.isAlive(pid) || undefined)
  })

  it("lets the call in flight finish when it is told to stop", async () => {
    const directory = workspace()
    writeFunction(directory, "slow")
    const millrace = start("dev", directory)
    const { gateway } = await ready(millrace)
    await call(`${gateway}/f/greet`)
    const slow = call(`${gateway}/f/greet?ms=700`)
    await eventually("the slow call is leased", async () => {
      const view = await fetch(`${gateway}/healthz`)
      return view.ok || undefined
    })
    await new Promise((resolve) => setTimeout(resolve, 200))
    millrace.child.kill("SIGTERM")
    expect((await slow).answer).toBe("slow")
    expect((await millrace.exited).code).toBe(0)
  })

  it("runs saved code for the very next call, while a call in flight finishes on the old code", async () => {
    const directory = workspace()
    writeFunction(directory, "old")
    const millrace = start("dev", directory)
    const { gateway } = await ready(millrace)
    await call(`${gateway}/f/greet`)
    const inFlight = call(`${gateway}/f/greet?ms=1000`)
    await new Promise((resolve) => setTimeout(resolve, 150))
    writeFunction(directory, "new")
    expect((await call(`${gateway}/f/greet`)).answer).toBe("new")
    expect((await inFlight).answer).toBe("old")
    for (const answer of ["a", "b", "c"]) {
      writeFunction(directory, answer)
      expect((await call(`${gateway}/f/greet`)).answer).toBe(answer)
    }
  })

  it("shows what is wrong with broken code, and recovers with the next save", async () => {
    const directory = workspace()
    writeFunction(directory, "fine", { maxAttempts: 1 })
    const millrace = start("dev", directory)
    const { gateway } = await ready(millrace)
    await call(`${gateway}/f/greet`)
    writeFileSync(join(directory, "server.ts"), "this is not TypeScript\n")
    const waiting = call(`${gateway}/f/greet`)
    const failed = await millrace.line(
      "a failed instance",
      ({ event, state }) => event === "instance" && state === "failed"
    )
    expect(String(failed.detail)).toContain("not TypeScript")
    writeFunction(directory, "mended", { maxAttempts: 1 })
    expect((await waiting).answer).toBe("mended")
  })

  it("names the port that is taken and the flag that changes it", async () => {
    const directory = workspace()
    writeFunction(directory, "one")
    const blocker = createServer()
    await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve))
    const address = blocker.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    for (const flag of ["--port", "--control-port", "--worker-port"]) {
      const millrace = start("dev", directory, join(directory, `.state${flag}`), [flag, String(port)])
      expect((await millrace.exited).code).toBe(1)
      expect(millrace.stderr()).toContain(String(port))
      expect(millrace.stderr()).toContain(flag)
      expect(millrace.stderr()).not.toContain("    at ")
    }
    blocker.close()
  })

  it("refuses a state directory that another Millrace uses", async () => {
    const directory = workspace()
    writeFunction(directory, "one")
    await ready(start("dev", directory))
    const second = start("dev", directory)
    expect((await second.exited).code).toBe(1)
    expect(second.stderr()).toContain("--state")
  })
})

describe("millrace up", () => {
  it("keeps ids, accepted requests and results over kill -9 and a restart", async () => {
    const directory = workspace()
    writeFunction(directory, "kept")
    const first = start("up", directory)
    const { gateway } = await ready(first)
    const accepted = await fetch(`${gateway}/f/greet?ms=300`, { headers: { prefer: "respond-async" } })
    expect(accepted.status).toBe(202)
    const { requestId }: { requestId: string } = JSON.parse(await accepted.text())
    await first.stop("SIGKILL")
    const functionId = first.lines.find(({ event }) => event === "function")?.functionId

    const second = start("up", directory)
    const { gateway: again } = await ready(second)
    expect(second.lines.find(({ event }) => event === "function")?.functionId).toBe(functionId)
    const result = await fetch(`${again}/requests/${requestId}/result?wait=30`)
    expect(result.status).toBe(200)
    expect(await result.json()).toMatchObject({ answer: "kept" })
  })

  it("does not watch files", async () => {
    const directory = workspace()
    writeFunction(directory, "old")
    const millrace = start("up", directory)
    const { gateway } = await ready(millrace)
    await call(`${gateway}/f/greet`)
    writeFunction(directory, "new")
    expect((await call(`${gateway}/f/greet`)).answer).toBe("old")
  })
})
