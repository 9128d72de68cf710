import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { setTimeout as delay } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

const directory = fileURLToPath(new URL(".", import.meta.url))
const hasPython = spawnSync("python3", ["--version"]).status === 0

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port")
  return address.port
}

/** The two servers promise the same; `start.sh` is whichever of them this machine can run. */
const servers = [
  { name: "server.py", command: ["python3", "server.py"], language: "python", skipped: !hasPython },
  { name: "server.mjs", command: [process.execPath, "server.mjs"], language: "javascript", skipped: false },
  { name: "start.sh", command: ["sh", "start.sh"], language: hasPython ? "python" : "javascript", skipped: false }
]

describe.each(servers.filter(({ skipped }) => !skipped))("$name", ({ command, language }) => {
  let child: ChildProcess
  let url = ""

  beforeAll(async () => {
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    const [program, ...rest] = command
    child = spawn(program!, rest, {
      cwd: directory,
      env: { ...process.env, PORT: String(port) },
      stdio: ["ignore", "ignore", "pipe"]
    })
    let complaints = ""
    child.stderr!.on("data", (chunk) => (complaints += chunk))
    const deadline = Date.now() + 15_000
    for (;;) {
      const healthy = await fetch(`${url}/health`).then(
        (response) => response.ok,
        () => false
      )
      if (healthy) return
      if (Date.now() > deadline || child.exitCode !== null) {
        throw new Error(`${command.join(" ")} is not healthy, exit code ${child.exitCode}: ${complaints}`)
      }
      await delay(20)
    }
  })

  afterAll(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill("SIGTERM")
    await once(child, "exit")
  })

  const statistics = async (body: string | ReadableStream) =>
    (await fetch(`${url}/statistics`, { method: "POST", body, duplex: "half" })).json()

  it("runs in the process that was spawned, in the language it claims", async () => {
    assert.deepStrictEqual(await (await fetch(url)).json(), { language, pid: child.pid })
  })

  it("counts lines and words and orders the frequent ones by count, then alphabet", async () => {
    assert.deepStrictEqual(await statistics("The mill, the race\nand the wheel; a mill.\n"), {
      lines: 2,
      words: 9,
      top: [
        ["the", 3],
        ["mill", 2],
        ["a", 1],
        ["and", 1],
        ["race", 1]
      ]
    })
    assert.deepStrictEqual(await statistics(""), { lines: 0, words: 0, top: [] })
  })

  it("takes a body whose length nobody announced", async () => {
    const parts = new ReadableStream({
      start: (controller) => {
        for (const text of ["one t", "wo\nth", "ree"]) controller.enqueue(new TextEncoder().encode(text))
        controller.close()
      }
    })
    assert.deepInclude(await statistics(parts), { lines: 2, words: 3 })
  })

  it("an unknown path is 404", async () => {
    assert.strictEqual((await fetch(`${url}/elsewhere`)).status, 404)
    assert.strictEqual((await fetch(`${url}/elsewhere`, { method: "POST", body: "words" })).status, 404)
  })
})
