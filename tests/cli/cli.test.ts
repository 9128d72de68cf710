import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, assert, beforeAll, describe, it } from "vitest"
import { compileCache } from "../chaos/PlatformLife.ts"
import * as ControlHarness from "../control/ControlHarness.ts"
import { deadLetter, instanceReport, requestView } from "../control/FakeSources.ts"

const main = new URL("../../src/cli/main.ts", import.meta.url).pathname

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

let harness: ControlHarness.Harness
let gateway: Server
let gatewayUrl: string
let state: string
const children = new Set<ChildProcess>()

const environment = () => ({
  PATH: process.env["PATH"],
  HOME: process.env["HOME"],
  MILLRACE_STATE: state,
  // Else each start compiles all of it again.
  NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] ?? compileCache
})

const start = (
  words: ReadonlyArray<string>,
  options: { readonly cwd?: string; readonly node?: ReadonlyArray<string> } = {}
) => {
  const child = spawn(process.execPath, [...(options.node ?? []), main, ...words], {
    cwd: options.cwd ?? state,
    env: environment()
  })
  children.add(child)
  child.once("exit", () => children.delete(child))
  return child
}

const ended = (child: ChildProcess, stdin?: string) =>
  new Promise<Ended>((resolve) => {
    let stdout = ""
    let stderr = ""
    child.stdout?.setEncoding("utf8").on("data", (chunk) => (stdout += chunk))
    child.stderr?.setEncoding("utf8").on("data", (chunk) => (stderr += chunk))
    child.stdin?.end(stdin ?? "")
    child.once("close", (code) => resolve({ code, stdout, stderr }))
  })

const millrace = (
  words: ReadonlyArray<string>,
  options: Parameters<typeof start>[1] & { readonly stdin?: string } = {}
) => ended(start(words, options), options.stdin)

const ok = async (...words: ReadonlyArray<string>) => {
  const result = await millrace(words)
  assert.strictEqual(result.code, 0, result.stderr)
  return result.stdout
}

/** A folder with a function that answers nothing: enough to be deployed. */
const functionFolder = (content: Record<string, unknown>) => {
  const directory = mkdtempSync(join(state, "fn-"))
  writeFileSync(join(directory, "millrace.json"), JSON.stringify(content))
  return directory
}

/** Answers like a gateway, and says what it got. */
const startFakeGateway = () =>
  createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk) => chunks.push(chunk))
    request.on("end", () => {
      response.setHeader("nvcf-reqid", "r-42")
      if (request.headers["prefer"] === "respond-async") {
        response.writeHead(202, { location: "/requests/r-42" }).end("{}")
        return
      }
      if (request.url === "/requests/r-42/result") {
        response.end("the kept result")
        return
      }
      response.statusCode = request.url?.includes("fail") ? 502 : 200
      const { method, url, headers } = request
      response.end(JSON.stringify({ method, url, word: headers["x-word"], body: Buffer.concat(chunks).toString() }))
    })
  })

beforeAll(async () => {
  harness = await ControlHarness.start()
  gateway = startFakeGateway()
  await new Promise<void>((resolve) => gateway.listen(0, "127.0.0.1", resolve))
  const address = gateway.address()
  gatewayUrl = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`
  state = mkdtempSync(join(tmpdir(), "millrace-cli-"))
  writeFileSync(join(state, "admin-token"), `${ControlHarness.adminToken}\n`)
  writeFileSync(
    join(state, "endpoints.json"),
    JSON.stringify({ gateway: gatewayUrl, control: harness.url, worker: "ws://127.0.0.1:1", pid: process.pid })
  )
})
afterEach(() => {
  for (const child of children) child.kill("SIGKILL")
})
afterAll(async () => {
  gateway.close()
  await harness.close()
  rmSync(state, { recursive: true })
})

describe("millrace", () => {
  it("every command has a page with an example", async () => {
    const overview = await ok("--help")
    const names = [...overview.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name]) => name ?? "")
    assert.includeMembers(names, ["dev", "up", "init", "deploy", "functions", "instances", "invoke", "requests"])
    assert.includeMembers(names, ["explain", "logs", "delete", "worker"])
    const pages = await Promise.all(names.map((name) => ok(name, "--help")))
    for (const page of pages) {
      assert.match(page, /For example:\n {2}millrace /)
      assert.include(page, "--json")
    }
  })

  it("an old Node is told what to do before anything else is loaded", async () => {
    const old = "data:text/javascript,Object.defineProperty(process.versions,'node',{value:'20.11.1'})"
    const { code, stderr, stdout } = await millrace(["functions"], { node: ["--import", old] })
    assert.strictEqual(code, 1)
    assert.include(stderr, "needs Node 22.19 or newer, and this is Node 20.11.1")
    assert.strictEqual(stdout, "")
  })

  it.each([
    [["nonsense"], "there is no command nonsense"],
    [["functions", "--nope"], "unknown option '--nope'"],
    [["invoke"], "the name of the function is missing"],
    [["functions", "show", "a", "b"], "b is one word too many"],
    [["worker", "wrap", "--health", "/"], "--forward is missing"],
    [["functions", "--url", "ftp://x"], "is not an address"],
    [["invoke", "a", "--header", "broken"], "not of the form"],
    [["invoke", "a", "-", "--data", "x"], "choose one"],
    [["requests", "eat"], "it is list, show, result or cancel"]
  ])("%j is a wrong call: exit code 2 and a sentence", async (words, expected) => {
    const { code, stderr } = await millrace(words)
    assert.strictEqual(code, 2, stderr)
    assert.include(stderr, expected)
    assert.notInclude(stderr, "    at ")
  })

  it("a platform that does not run is told as such, with the way to start it", async () => {
    const { code, stderr } = await millrace(["functions", "--url", "http://127.0.0.1:9"])
    assert.strictEqual(code, 1)
    assert.include(stderr, "nothing answers at http://127.0.0.1:9: start it with `millrace dev`")
    const json = await millrace(["functions", "--json", "--url", "http://127.0.0.1:9"])
    assert.strictEqual(JSON.parse(json.stderr).error.kind, "nothing-answers")
    assert.strictEqual(json.stdout, "")
  })

  it("another state directory has another token, which is said", async () => {
    const elsewhere = mkdtempSync(join(state, "other-"))
    const { code, stderr } = await millrace(["functions", "--state", elsewhere, "--url", harness.url])
    assert.strictEqual(code, 1)
    assert.include(stderr, `there is no admin token in ${elsewhere}`)
  })
})

describe("deploy", () => {
  it("deploys, leaves alone what has not changed, and replaces what has", async () => {
    const content = { name: "greet", command: ["node", "x.js"], curl: "curl {url}/hi", deployment: { minInstances: 1 } }
    const directory = functionFolder(content)
    const first = JSON.parse(await ok("deploy", directory, "--json"))
    assert.strictEqual(first.number, 1)
    assert.strictEqual(first.url, `${gatewayUrl}/f/greet/`)
    assert.strictEqual(first.curl, `curl ${gatewayUrl}/f/greet/hi`)
    assert.isFalse(first.unchanged)
    const again = JSON.parse(await ok("deploy", directory, "--json"))
    assert.deepStrictEqual(again, { ...first, unchanged: true })

    writeFileSync(join(directory, "millrace.json"), JSON.stringify({ ...content, environment: { A: "1" } }))
    assert.include(await ok("deploy", directory), "greet version 2 is deployed")
    const routing = harness.registry.routing("default")
    assert.strictEqual(routing.byName("greet")?.version.environment["A"], "1")
    assert.strictEqual(routing.byVersionId(first.versionId)?.deployment?.spec.minInstances, 0)

    const shown = JSON.parse(await ok("functions", "show", "greet", "--json"))
    assert.deepStrictEqual(
      shown.versions.map(({ number }: { number: number }) => number),
      [2, 1]
    )
    assert.match(await ok("functions"), /greet +2 +idle/)
    const refused = await millrace(["delete", "greet"])
    assert.strictEqual(refused.code, 1)
    assert.include(refused.stderr, "still deployed")
    await ok("delete", "greet", "--force")
    assert.strictEqual(routing.byName("greet"), undefined)
  })

  it("a file with mistakes is refused with all of them, and nothing is created", async () => {
    const directory = functionFolder({ name: "Bad Name", entry: "./none.ts", durability: "maybe" })
    const { code, stderr } = await millrace(["deploy", directory])
    assert.strictEqual(code, 1)
    assert.include(stderr, join(directory, "millrace.json"))
    assert.include(stderr, "name: ")
    assert.include(stderr, "durability: ")
    assert.notInclude(await ok("functions"), "Bad")
  })
})

describe("invoke", () => {
  it("sends what it is told and prints the answer", async () => {
    const answer = JSON.parse(await ok("invoke", "greet", "--path", "/a?b=c", "-H", "X-Word: yes", "--data", "hi"))
    assert.deepStrictEqual(answer, { method: "POST", url: "/f/greet/a?b=c", word: "yes", body: "hi" })
    const piped = await millrace(["invoke", "greet", "-", "-X", "put"], { stdin: "from a pipe" })
    assert.deepInclude(JSON.parse(piped.stdout), { method: "PUT", body: "from a pipe" })
    const file = join(state, "body.txt")
    writeFileSync(file, "from a file")
    assert.strictEqual(JSON.parse(await ok("invoke", "greet", "--data-file", file)).body, "from a file")
  })

  it("an error of the function is printed, and told by the exit code", async () => {
    const { code, stdout } = await millrace(["invoke", "greet", "--path", "/fail", "--json"])
    assert.strictEqual(code, 1)
    const shown = JSON.parse(stdout)
    assert.deepInclude(shown, { status: 502, requestId: "r-42" })
    assert.strictEqual(JSON.parse(shown.body).url, "/f/greet/fail")
  })

  it("--async prints how to claim the result, and the result is claimed so", async () => {
    assert.include(await ok("invoke", "greet", "--async"), "millrace requests result r-42")
    assert.strictEqual(await ok("requests", "result", "r-42"), "the kept result")
    assert.deepInclude(JSON.parse(await ok("requests", "result", "r-42", "--json")), { body: "the kept result" })
  })
})

describe("what runs", () => {
  it("instances and requests are listed, explained and cancelled", async () => {
    const directory = functionFolder({ name: "work", command: ["node"] })
    const { functionId, versionId } = JSON.parse(await ok("deploy", directory, "--json"))
    harness.instances.reports.set("i-1", instanceReport({ instanceId: "i-1", functionId, versionId }))
    harness.instances.reports.set("i-2", instanceReport({ instanceId: "i-2", state: "failed", endedAtMs: 2_000 }))
    harness.requests.requests.set(
      "r-1",
      requestView({ requestId: "r-1", functionId, functionName: "work", versionId, path: "/\u001b[2J" })
    )
    const listed = await ok("instances", "work")
    assert.match(listed, /i-1 +ready/)
    assert.notInclude(listed, "i-2")
    assert.include(await ok("instances", "--all"), "i-2")
    assert.match(await ok("requests"), /r-1 +work +pending +0\/3 +2/)
    const explained = await ok("explain", "r-1")
    assert.include(explained, "an instance is starting")
    assert.notInclude(explained, "\u001b")
    assert.include(await ok("requests", "cancel", "r-1"), "cancelled r-1")
    assert.strictEqual(harness.requests.get("r-1")?.state, "cancelled")
    const late = await millrace(["requests", "cancel", "r-1"])
    assert.include(late.stderr, "had already ended")
    assert.strictEqual((await millrace(["explain", "r-9"])).code, 1)
  })

  it("dead letters are listed, shown, replayed once and dropped", async () => {
    const id = "01938f5e-7c1a-7d3e-9a40-2f6b1c8d0e11"
    assert.include(await ok("dead-letters"), "no dead letters")
    harness.deadLetters.letters.set(id, deadLetter({ requestId: id, path: "/\u001b[2J" }))
    harness.deadLetters.letters.set("l-2", deadLetter({ requestId: "l-2", bodyKept: false, body: null }))
    assert.match(await ok("dead-letters", "list"), /01938f5e\S+ +hello +3\/3 /)
    const shown = await ok("dead-letters", "show", id)
    assert.include(shown, "attempts-exhausted")
    assert.include(shown, "content-type: text/plain")
    assert.notInclude(shown, "\u001b")
    assert.deepInclude(JSON.parse(await ok("dead-letters", "show", id, "--json")), { requestId: id, attempts: 3 })
    const first = JSON.parse(await ok("dead-letters", "replay", id, "--json"))
    assert.deepInclude(first, { deadLetter: id, requestId: `${id}-again`, isNew: true })
    assert.include(await ok("dead-letters", "replay", id), "nothing runs again")
    const open = JSON.parse(await ok("dead-letters", "list", "--open", "--json"))
    assert.deepStrictEqual(
      open.items.map(({ requestId }: { requestId: string }) => requestId),
      ["l-2"]
    )
    const incomplete = await millrace(["dead-letters", "replay", "l-2", "--json"])
    assert.strictEqual(JSON.parse(incomplete.stderr).error.kind, "dead-letter-incomplete")
    assert.include(await ok("dead-letters", "drop", id), `dropped ${id}`)
    assert.strictEqual((await millrace(["dead-letters", "show", id])).code, 1)
    assert.strictEqual((await millrace(["dead-letters", "bury", id])).code, 2)
  })

  it("logs -f prints the kept lines, then new ones, until Ctrl-C", async () => {
    harness.instances.reports.set("i-log", instanceReport({ instanceId: "i-log" }))
    harness.logs.write("i-log", { atMs: 1, stream: "stdout", text: "kept" })
    assert.include(await ok("logs", "i-log"), "kept")
    const child = start(["logs", "-f", "i-log"])
    const end = ended(child)
    let seen = ""
    child.stdout.on("data", (chunk) => (seen += chunk))
    const until = async (text: string) => {
      const deadline = performance.now() + 10_000
      while (!seen.includes(text)) {
        assert.isBelow(performance.now(), deadline, `waited for ${text}, saw ${seen}`)
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
    await until("kept")
    harness.logs.write("i-log", { atMs: 2, stream: "stderr", text: "fresh" })
    await until("fresh")
    child.kill("SIGINT")
    assert.strictEqual((await end).code, 0)
    assert.include((await millrace(["logs", "nobody"])).stderr, "neither a function nor an instance")
  })
})

describe("init", () => {
  it("makes a function that deploys, and refuses a directory with something in it", async () => {
    const directory = join(state, "made")
    assert.include(await ok("init", directory), "millrace dev")
    assert.strictEqual(JSON.parse(readFileSync(join(directory, "millrace.json"), "utf8")).name, "made")
    assert.include(await ok("deploy", directory), "made version 1 is deployed")
    const test = spawn(process.execPath, ["--conditions=millrace-source", "--test"], {
      cwd: directory,
      // Without the variable by which a test runner tells that it is one.
      env: { PATH: process.env["PATH"] }
    })
    children.add(test)
    const tested = await ended(test)
    assert.strictEqual(tested.code, 0, tested.stdout + tested.stderr)
    const again = await millrace(["init", directory])
    assert.strictEqual(again.code, 1)
    assert.include(again.stderr, "is not empty")
  })
})

describe("config", () => {
  const write = (name: string, text: string) => {
    const path = join(state, name)
    writeFileSync(path, text)
    return path
  }

  it("check takes the example that operators are given, and tells every problem of another with its path", async () => {
    const operating = readFileSync(new URL("../../docs/operating.md", import.meta.url), "utf8")
    const good = write("good.json", /```jsonc\n([\s\S]+?)```/.exec(operating)?.[1] ?? "")
    const bad = write("bad.json", JSON.stringify({ nats: { url: ["nats://127.0.0.1"] }, invocation: { shards: 65 } }))
    const [taken, refused, nowhere, asJson] = await Promise.all([
      millrace(["config", "check", good]),
      millrace(["config", "check", bad]),
      millrace(["config", "check", join(state, "nowhere.json")]),
      millrace(["config", "check", bad, "--json"])
    ])
    assert.deepInclude(taken, { code: 0, stdout: `${good} is in order\n` })
    assert.strictEqual(refused.code, 1)
    assert.match(refused.stdout, /^nats\.url: .*nats\.urls/m)
    assert.match(refused.stdout, /^invocation\.shards: .*64/m)
    assert.strictEqual(nowhere.code, 2)
    assert.include(nowhere.stderr, "nowhere.json")
    const { problems } = JSON.parse(asJson.stdout)
    assert.sameMembers(
      problems.map(({ path }: { readonly path: string }) => path),
      ["nats.url", "invocation.shards"]
    )
  })

  it("show tells what holds and where it comes from, and no secret", async () => {
    const file = write("shown.json", JSON.stringify({ nats: { urls: ["nats://millrace:PASSWORD@127.0.0.1:4222"] } }))
    const secret = "s".repeat(43)
    const held = await ok(
      "config",
      "show",
      "--config",
      file,
      "--set",
      `secrets.worker=${secret}`,
      "--set",
      "state=here"
    )
    for (const hidden of [secret, "PASSWORD"]) assert.notInclude(held, hidden)
    assert.match(held, /^secrets\.worker +"\(hidden\)" +--set/m)
    assert.match(held, /^state +"here" +--set/m)
    assert.match(held, /^nats\.urls +"\(hidden\)" +/m)
  })
})
