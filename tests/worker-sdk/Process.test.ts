import { createServer } from "node:net"
import type { Duplex } from "node:stream"
import { afterEach, assert, describe, it } from "vitest"
import type { FromWorker } from "../../src/worker-sdk/protocol/WorkerMessage.ts"
import { type Child, killGroup, startChild } from "./childProcess.ts"
import { FakePlane, type Session, until } from "./FakePlane.ts"

const cleanUps: Array<() => unknown> = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const openPlane = async (): Promise<FakePlane> => {
  const plane = await FakePlane.open()
  cleanUps.push(() => plane.close())
  return plane
}

const start = (...parameters: Parameters<typeof startChild>): Child => {
  const child = startChild(...parameters)
  cleanUps.push(() => killGroup(child))
  return child
}

const startWorker = async (
  fixture: string,
  options?: Parameters<typeof startChild>[2],
  environment: Record<string, string> = {}
) => {
  const plane = await openPlane()
  const child = start(
    fixture,
    {
      MILLRACE_WORKER_URL: plane.url("ws"),
      MILLRACE_INSTANCE_ID: "instance-9",
      MILLRACE_SLOTS: "4",
      MILLRACE_SPAWNED_AT_MS: String(Date.now()),
      ...environment
    },
    options
  )
  const session = await until(
    "the worker is ready",
    () => plane.sessions.find((each) => each.of("Ready")[0]),
    child.output
  )
  return { plane, child, session }
}

let count = 0

interface Asked {
  readonly method?: string
  readonly body?: string
  readonly headers?: ReadonlyArray<readonly [string, string]>
}

const ask = (session: Session, path: string, { method = "POST", body = "", headers = [] }: Asked = {}): string => {
  const requestId = `request-${++count}`
  session.assign({
    requestId,
    token: count,
    head: { method, path, headers: [["host", "f.example"], ...headers] },
    body: Buffer.from(body)
  })
  return requestId
}

type About = Extract<FromWorker, { readonly requestId: string }>

const messagesOf = (session: Session, requestId: string): ReadonlyArray<About> =>
  session.messages.filter((message): message is About => "requestId" in message && message.requestId === requestId)

const call = async (session: Session, path: string, asked?: Asked) => {
  const requestId = ask(session, path, asked)
  await until(
    `the answer to ${path}`,
    () =>
      messagesOf(session, requestId).some(
        (message) =>
          message._tag === "ResponseEnd" ||
          message._tag === "Failed" ||
          (message._tag === "ResponseHead" && message.end)
      ),
    () => session.messages
  )
  const messages = messagesOf(session, requestId)
  const head = messages.find((message) => message._tag === "ResponseHead")
  const failed = messages.find((message) => message._tag === "Failed")
  const bytes = messages.flatMap((message) =>
    message._tag === "ResponseHead" ? [message.body] : message._tag === "ResponseChunk" ? [message.bytes] : []
  )
  return { head, failed, text: Buffer.concat(bytes).toString(), status: head?.status }
}

describe("serve as a process", () => {
  it("without a Millrace it says how to be run, and exits with 1", async () => {
    const child = start("functions.ts", {})
    assert.strictEqual(await child.exit(), 1)
    assert.include(child.output(), "millrace dev")
  })

  it("a bad setting is named", async () => {
    const child = start("functions.ts", { MILLRACE_WORKER_URL: "ftp://x", MILLRACE_SLOTS: "1" })
    assert.strictEqual(await child.exit(), 1)
    assert.include(child.output(), "MILLRACE_WORKER_URL")
  })

  it("a small call loads neither Node's fetch classes nor its http", async () => {
    const { session } = await startWorker("functions.ts")
    assert.deepStrictEqual(JSON.parse((await call(session, "/loaded", { body: "hi" })).text), ["hi", false, false])
    const ready = session.of("Ready")[0]
    assert(ready !== undefined && ready.phases.processMs > 0 && ready.phases.connectMs >= 0)
    assert.strictEqual(ready.slots, 4)
  })

  it("the fetch names mean what they mean everywhere", async () => {
    const { session } = await startWorker("functions.ts")
    assert.deepStrictEqual(JSON.parse((await call(session, "/instances")).text), [true, true, true, true, true, true])
    assert.deepStrictEqual(JSON.parse((await call(session, "/copies", { body: "copied" })).text), [
      "POST",
      "1",
      "copied",
      true,
      true,
      "PUT"
    ])
    assert.deepStrictEqual(JSON.parse((await call(session, "/fetches", { body: "passed on" })).text), [
      true,
      "POST",
      "passed on"
    ])
    const native = await call(session, "/native")
    assert.strictEqual(native.text, "from Node's own class")
    assert.deepStrictEqual(native.head?._tag === "ResponseHead" && native.head.end, true)
  })

  for (const scheme of ["grpc", "unix", "grpc+unix"] as const) {
    it(`over ${scheme} it serves as well`, async () => {
      const plane = await openPlane()
      const child = start("functions.ts", { MILLRACE_WORKER_URL: plane.url(scheme) })
      const session = await until("ready", () => plane.sessions.find((each) => each.of("Ready")[0]), child.output)
      assert.strictEqual(JSON.parse((await call(session, "/loaded", { body: "hi" })).text)[0], "hi")
      session.connection.send({ _tag: "Drain", reason: "test" })
      assert.strictEqual(await child.exit(), 0)
    })
  }

  it("SIGTERM lets calls and their afterwards finish, then the process exits with 0", async () => {
    const { session, child } = await startWorker("functions.ts")
    const requestId = ask(session, "/slow")
    // An answered call shows that the one before it is running.
    await call(session, "/loaded")
    child.process.kill("SIGTERM")
    assert.strictEqual(await child.exit(), 0)
    const head = messagesOf(session, requestId)[0]
    assert(head?._tag === "ResponseHead")
    assert.strictEqual(Buffer.from(head.body).toString(), "finished")
    assert.include(child.output(), "afterwards")
    assert.isTrue((await until("it left", () => session.closes[0])).clean)
  })

  it("a second SIGINT does not wait", async () => {
    const { session, child } = await startWorker("functions.ts")
    ask(session, "/forever")
    await call(session, "/loaded")
    child.process.kill("SIGINT")
    await until("it drains", () => session.of("Draining")[0])
    child.process.kill("SIGINT")
    assert.strictEqual(await child.exit(), 130)
  })

  it("it goes when its parent's IPC channel closes", async () => {
    const { child } = await startWorker("functions.ts", { stdio: ["ignore", "pipe", "pipe", "ipc"] })
    child.process.disconnect()
    assert.strictEqual(await child.exit(), 1)
  })

  it("it goes when its parent's pipe closes", async () => {
    const { child } = await startWorker(
      "functions.ts",
      { stdio: ["ignore", "pipe", "pipe", "pipe"] },
      { MILLRACE_PARENT_FD: "3" }
    )
    // The fourth is a pipe because stdio says so.
    const pipe = child.process.stdio[3] as Duplex
    pipe.destroy()
    assert.strictEqual(await child.exit(), 1)
  })

  it("a rejection that nobody listens to is logged and ends nothing", async () => {
    const { session, child } = await startWorker("functions.ts")
    assert.strictEqual((await call(session, "/stray")).text, "ok")
    await until("it is logged", () => child.output().includes("nobody listens"), child.output)
    assert.strictEqual(JSON.parse((await call(session, "/loaded", { body: "alive" })).text)[0], "alive")
  })

  it("a Hono app works as it is", async () => {
    const { session } = await startWorker("hono.ts")
    const json = await call(session, "/json", { body: '{"a":1}', headers: [["content-type", "application/json"]] })
    assert.deepStrictEqual([json.status, JSON.parse(json.text).body], [201, { a: 1 }])
    assert.match(JSON.parse(json.text).id, /^request-/)
    assert(json.head?._tag === "ResponseHead" && json.head.headers.some(([name]) => name === "x-from"))
    assert.strictEqual((await call(session, "/text/you?q=1", { method: "GET" })).text, "hello you 1")
    assert.strictEqual((await call(session, "/events", { method: "GET" })).text, "data: one\n\ndata: two\n\n")
    assert.strictEqual((await call(session, "/nowhere", { method: "GET" })).status, 404)
    assert.strictEqual((await call(session, "/throws", { method: "GET" })).status, 500)
  })
})

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

describe("wrap", () => {
  const server = new URL("./fixtures/server.mjs", import.meta.url).pathname

  const startWrapped = async () => {
    const port = await freePort()
    const options = { arguments: [String(port), process.execPath, server, String(port)] }
    return startWorker("wrap.ts", options, { MILLRACE_WORKER_TOKEN: "secret" })
  }

  it("waits for health, then forwards calls whole: method, path, headers, body, status", async () => {
    const { session } = await startWrapped()
    const asked = {
      method: "PUT",
      body: "x".repeat(5000),
      headers: [
        ["x-a", "1"],
        ["connection", "x-hop"],
        ["x-hop", "dropped"],
        ["content-length", "5000"]
      ]
    } as const
    const answer = await call(session, "/any/path?q=ä%20b", asked)
    assert.deepStrictEqual([answer.status, answer.text], [418, "x".repeat(5000)])
    assert(answer.head?._tag === "ResponseHead")
    const headers = answer.head.headers
    assert.deepStrictEqual(
      headers.filter(([name]) => name === "set-cookie").map(([, value]) => value),
      ["a=1", "b=2"]
    )
    assert(!headers.some(([name]) => name === "connection" || name === "transfer-encoding" || name === "keep-alive"))
    const [method, path, seen] = JSON.parse(headers.find(([name]) => name === "x-seen")?.[1] ?? "[]")
    assert.deepStrictEqual([method, path], ["PUT", "/any/path?q=%C3%A4%20b"])
    assert.deepInclude(seen, {
      "x-a": "1",
      "x-forwarded-host": "f.example",
      "millrace-request-id": answer.head.requestId,
      "millrace-attempt": "1",
      "millrace-tenant": "tenant-1"
    })
    assert.notProperty(seen, "x-hop")
  })

  it("the command does not get the worker's token", async () => {
    const { session } = await startWrapped()
    assert.strictEqual((await call(session, "/stats", { method: "GET" })).text, "no token")
  })

  it("cancelling closes the connection to the server", async () => {
    const { session, child } = await startWrapped()
    const requestId = ask(session, "/slow", { method: "GET" })
    await until("the stream began", () => messagesOf(session, requestId).length > 0)
    session.connection.send({ _tag: "Cancel", requestId, token: count, reason: "caller-left" })
    await until("the server noticed", () => child.output().includes("caller gone"), child.output)
  })

  it("when the command ends, the call is given back and the process ends with its code", async () => {
    const { session, child } = await startWrapped()
    const answer = await call(session, "/die", { method: "GET" })
    assert.deepInclude(answer.failed, { _tag: "Failed", retryable: true })
    assert.strictEqual(await child.exit(), 7)
  })

  it("SIGTERM drains, then ends the command", async () => {
    const { child } = await startWrapped()
    child.process.kill("SIGTERM")
    assert.strictEqual(await child.exit(), 0)
    assert.include(child.output(), "server got SIGTERM")
  })

  it("a command that cannot start is said so", async () => {
    const plane = await openPlane()
    const child = start(
      "wrap.ts",
      { MILLRACE_WORKER_URL: plane.url("ws") },
      { arguments: [String(await freePort()), "/no/such/program"] }
    )
    assert.strictEqual(await child.exit(), 127)
    assert.include(child.output(), "did not start")
  })
})
