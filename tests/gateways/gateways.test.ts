/**
 * Two and three gateways over one fabric in this process: any of them takes any call, shards move between them while calls
 * go on, and nobody hears of it.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import * as EmbeddedFabric from "../../src/planes/fabric/EmbeddedFabric.ts"
import * as RequestId from "../../src/planes/invocation/RequestId.ts"
import { eventually } from "../support/TestPlatform.ts"
import { makeWorld, ownerOf, type TestFunction, type World } from "./World.ts"

const patientMs = 60_000

/** So many that each of three gateways gets some, but once in five thousand draws. */
const shardCount = 24

describe("several gateways", { timeout: 120_000 }, () => {
  let folder = ""
  let world: World
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "millrace-gateways-"))
    world = await makeWorld(EmbeddedFabric.layer({ directory: folder }), shardCount)
  })
  afterEach(async (test) => {
    if (test.task.result?.state === "fail") console.log(world.log.slice(-60).join("\n"))
    await world.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const settled = () =>
    eventually(
      "each shard is served once",
      () => {
        const counts = Array.from({ length: shardCount }, (_, index) =>
          world.gateways.reduce((sum, { shards }) => sum + (shards.at(index) === undefined ? 0 : 1), 0)
        )
        return counts.every((count) => count === 1) && world.gateways.every(({ shards }) => shards.all.length > 0)
      },
      patientMs
    )

  /** One function with a worker, and a gateway that has its shard and one that has not. */
  const twoGateways = async () => {
    const first = await world.addGateway()
    const second = await world.addGateway()
    await settled()
    const fn = await world.deploy("any")
    // Both, as the one that it asked first may be the one that goes.
    world.work(fn, `${first.workerUrl},${second.workerUrl}`)
    const owner = ownerOf(world, fn)!
    const other = owner === first ? second : first
    return { fn, owner, other }
  }

  const call = (url: string, fn: TestFunction, path: string, init: RequestInit = {}) =>
    fetch(`${url}/f/${fn.name}${path}`, init)

  it("answer a call at the one that has its shard and at the one that has not, alike", async () => {
    const { fn, owner, other } = await twoGateways()
    const answers = []
    for (const { url } of [owner, other]) {
      const answer = await call(url, fn, "/echo?x=1", { method: "POST", body: "hello" })
      assert.strictEqual(answer.status, 200)
      assert.match(answer.headers.get("nvcf-reqid") ?? "", /^[0-9a-f-]{36}$/)
      assert.isNull(answer.headers.get("millrace-peer-outcome"))
      answers.push(await answer.text())
    }
    assert.deepStrictEqual(answers, ["/echo hello 1", "/echo hello 1"])
    const large = "x".repeat(3_000_000)
    const answer = await call(other.url, fn, "/large", { method: "POST", body: large })
    assert.strictEqual(await answer.text(), "/large 3000000 1")
  })

  it("show a claim, a view, a poll and the end of a request wherever it is asked about", async () => {
    const { fn, owner, other } = await twoGateways()
    for (const [at, ask] of [
      [owner.url, other.url],
      [other.url, owner.url]
    ] as const) {
      const accepted = await call(at, fn, "/later?ms=50", {
        method: "POST",
        body: "a",
        headers: { prefer: "respond-async" }
      })
      assert.strictEqual(accepted.status, 202)
      const { requestId } = JSON.parse(await accepted.text())
      const claimed = await fetch(`${ask}/requests/${requestId}/result?wait=20`)
      assert.deepStrictEqual([claimed.status, await claimed.text()], [200, "/later a 1"])
      const polled = await fetch(`${ask}/v2/nvcf/pexec/status/${requestId}`)
      assert.deepStrictEqual([polled.status, await polled.text()], [200, "/later a 1"])
      const view = JSON.parse(await (await fetch(`${ask}/requests/${requestId}`)).text())
      assert.deepStrictEqual([view.requestId, view.state], [requestId, "responded"])
      const cancelled = JSON.parse(await (await fetch(`${ask}/requests/${requestId}`, { method: "DELETE" })).text())
      assert.strictEqual(cancelled.outcome, "ended")
    }
  })

  it("stream events as they come, and let a reader go on at another gateway after the last one it saw", async () => {
    const { fn, owner, other } = await twoGateways()
    const streamed = await call(other.url, fn, "/events?chunks=8&ms=100", {
      headers: { accept: "text/event-stream", "millrace-event-ids": "true" }
    })
    assert.strictEqual(streamed.status, 200)
    const requestId = streamed.headers.get("nvcf-reqid")
    const reader = streamed.body!.pipeThrough(new TextDecoderStream()).getReader()
    let seen = ""
    while (!seen.includes("data: 3")) seen += (await reader.read()).value ?? ""
    assert.notInclude(seen, "data: 8", "it must come as it is made")
    const lastId = [...seen.matchAll(/id: (.+)/g)].at(-1)?.[1] ?? ""
    const lastData = Number([...seen.matchAll(/data: (\d+)/g)].at(-1)?.[1])
    await reader.cancel()
    for (const { url } of [owner, other]) {
      const resumed = await fetch(`${url}/requests/${requestId}/result?wait=20`, {
        headers: { accept: "text/event-stream", "last-event-id": lastId }
      })
      const rest = [...(await resumed.text()).matchAll(/data: (\d+)/g)].map((match) => Number(match[1]))
      assert.deepStrictEqual(
        rest,
        Array.from({ length: 8 - lastData }, (_, index) => lastData + 1 + index)
      )
    }
  })

  it("cancel what its caller leaves, when it asked for that, through the gateway that passed it on", async () => {
    const { fn, owner, other } = await twoGateways()
    const controller = new AbortController()
    const left = call(other.url, fn, "/left?ms=20000", {
      headers: { "millrace-on-disconnect": "cancel", "idempotency-key": "left" },
      signal: controller.signal
    }).catch(() => undefined)
    const shard = owner.shards.forVersion(fn.versionId)!
    const entry = await eventually("it runs", () =>
      [...shard.entries.all()].find(({ attempt }) => attempt !== undefined)
    )
    controller.abort()
    await left
    await eventually("it is cancelled", () => entry.end?.terminal === "cancelled")
  })

  it("do not pass on what came from a gateway, and take nobody else's word for being one", async () => {
    const { fn, owner, other } = await twoGateways()
    const forged = await call(other.url, fn, "/forged", {
      headers: { "millrace-peer": "0".repeat(64), "millrace-peer-request": "x", "millrace-peer-attach": "1" }
    })
    assert.deepStrictEqual([forged.status, await forged.text()], [200, "/forged  1"])
    const { secretOf } = await import("../../src/planes/invocation/Peers.ts")
    const { secret } = await import("./GatewayLife.ts")
    const peer = { "millrace-peer": secretOf(secret), "millrace-peer-request": "01900000-0000-7000-8000-000000000000" }
    const asked = await call(other.url, fn, "/loop", { headers: peer })
    assert.deepStrictEqual([asked.status, asked.headers.get("millrace-peer-outcome")], [503, "not-owner"])
    const unknown = await call(owner.url, fn, "/loop", { headers: { ...peer, "millrace-peer-attach": "1" } })
    assert.strictEqual(unknown.headers.get("millrace-peer-outcome"), "unknown-request")
    assert.isUndefined(world.runs.counts.get("/loop:"))
  })

  it("take a call that a gateway sent twice once, under one id, and still have its answer", async () => {
    const { fn, owner } = await twoGateways()
    const { secretOf } = await import("../../src/planes/invocation/Peers.ts")
    const { secret } = await import("./GatewayLife.ts")
    for (const [name, own] of [
      ["keyed", { "idempotency-key": "k" }],
      ["unkeyed", {}],
      ["later", { "idempotency-key": "l", prefer: "respond-async" }]
    ] as const) {
      const requestId = RequestId.make(performance.now(), owner.shards.indexOf(fn.versionId))
      const headers = { "millrace-peer": secretOf(secret), "millrace-peer-request": requestId, ...own }
      const send = () => call(owner.url, fn, `/${name}?ms=300`, { method: "POST", body: name, headers })
      const answers = [...(await Promise.all([send(), send()]))]
      // When the first has its answer; nothing of a call without a key is kept then.
      if (name !== "unkeyed") answers.push(await send())
      for (const answer of answers) {
        assert.strictEqual(answer.status, name === "later" ? 202 : 200)
        if (name === "later") continue
        assert.strictEqual(await answer.text(), `/${name} ${name} 1`)
      }
      const claimed = await fetch(`${owner.url}/requests/${requestId}/result?wait=20`)
      if (name !== "unkeyed")
        assert.deepStrictEqual([claimed.status, await claimed.text()], [200, `/${name} ${name} 1`])
      assert.strictEqual(world.runs.counts.get(`/${name}:`), 1)
    }
  })

  it("take a call once whose two copies begin before either is whole", async () => {
    const { fn, owner } = await twoGateways()
    const { secretOf } = await import("../../src/planes/invocation/Peers.ts")
    const { secret } = await import("./GatewayLife.ts")
    const requestId = RequestId.make(performance.now(), owner.shards.indexOf(fn.versionId))
    const headers = {
      "millrace-peer": secretOf(secret),
      "millrace-peer-request": requestId,
      "idempotency-key": "halves",
      "content-length": "4"
    }
    const begin = () => {
      const sent = request(`${owner.url}/f/${fn.name}/halves`, { method: "POST", headers })
      sent.flushHeaders()
      sent.write("ha")
      const status = new Promise<number>((resolve, reject) => {
        sent.on("response", (answer) => {
          answer.resume()
          resolve(answer.statusCode ?? 0)
        })
        sent.on("error", reject)
      })
      return { sent, status }
    }
    const both = [begin(), begin()]
    const sockets = () => both.every(({ sent }) => sent.socket?.connecting === false && sent.writableLength === 0)
    await eventually("both have begun", sockets)
    await fetch(`${owner.url}/requests/${requestId}`)
    for (const { sent } of both) sent.end("lf")
    assert.deepStrictEqual(await Promise.all(both.map(({ status }) => status)), [200, 200])
    const claimed = await fetch(`${owner.url}/requests/${requestId}/result?wait=20`)
    assert.deepStrictEqual([claimed.status, await claimed.text()], [200, "/halves half 1"])
    assert.strictEqual(world.runs.counts.get("/halves:"), 1)
  })

  it("hold a call while its shard has no owner, and answer it when there is one", async () => {
    const { fn, owner, other } = await twoGateways()
    await owner.close()
    const answer = await call(other.url, fn, "/held")
    assert.deepStrictEqual([answer.status, await answer.text()], [200, "/held  1"])
  })

  it("hand shards over under load without losing a call, without a second attempt and without running anything twice", async () => {
    const first = await world.addGateway()
    const functions = await Promise.all([0, 1, 2].map((index) => world.deploy(`f${index}`)))
    let count = 0
    const errors: Array<string> = []
    // Whoever sends calls to one that is told to end is told so before its door closes; what was sent by then is answered.
    const leaving = new Set<string>()
    const urls = () =>
      world.gateways.filter(({ url, shards }) => shards.all.length > 0 && !leaving.has(url)).map(({ url }) => url)
    for (const fn of functions) world.work(fn, first.workerUrl, 16)
    let isOver = false
    const caller = async (fn: TestFunction, index: number) => {
      for (let round = 0; !isOver; round++) {
        const name = `${fn.name}-${index}-${round}`
        const at = urls()[round % urls().length] ?? first.url
        const answer = await call(at, fn, `/work?ms=${(round * 37) % 200}`, {
          method: "POST",
          body: name,
          headers: { "x-name": name }
        }).catch((error: unknown) => String(error))
        count++
        const text = typeof answer === "string" ? answer : await answer.text()
        if (typeof answer === "string" || answer.status !== 200 || text !== `/work ${name} 1`) {
          errors.push(`${name}: ${typeof answer === "string" ? "" : answer.status} ${text}`)
        }
      }
    }
    const callers = functions.flatMap((fn) => [0, 1, 2, 3].map((index) => caller(fn, index)))
    await eventually("calls are answered", () => count > 20, patientMs)
    const second = await world.addGateway()
    await settled()
    const third = await world.addGateway()
    await settled()
    const before = count
    await eventually("calls go on", () => count > before + 20, patientMs)
    // Its share goes to the others, and with it what runs there.
    leaving.add(second.url)
    await second.close()
    await eventually(
      "the two others have all",
      () => first.shards.all.length + third.shards.all.length === shardCount,
      patientMs
    )
    const after = count
    await eventually("calls go on", () => count > after + 20, patientMs)
    isOver = true
    await Promise.all(callers)
    assert.deepStrictEqual(errors, [])
    assert.deepStrictEqual(world.runs.repeated, [])
    assert.isAtLeast(world.log.filter((line) => line.includes("handed over")).length, 4)
  })

  it("continue a call that runs for longer than the move: one attempt, and its caller has the answer", async () => {
    const { fn, owner, other } = await twoGateways()
    const answers = [owner, other].map(({ url }, index) =>
      call(url, fn, "/long?ms=4000", { method: "POST", body: `${index}`, headers: { "x-name": `long-${index}` } })
    )
    const streamed = call(owner.url, fn, "/slow?ms=3500", { headers: { "x-name": "kept", "idempotency-key": "k" } })
    await eventually("all run", () => world.runs.counts.size === 3)
    const shard = owner.shards.forVersion(fn.versionId)!
    await Effect.runPromise(owner.shards.leave(20_000))
    assert.isFalse(shard.isOpen)
    await settledAt(other, fn)
    for (const [index, answer] of (await Promise.all(answers)).entries()) {
      assert.deepStrictEqual([answer.status, await answer.text()], [200, `/long ${index} 1`])
    }
    assert.strictEqual(await (await streamed).text(), "/slow  1")
    assert.deepStrictEqual(world.runs.repeated, [])
  })

  const settledAt = (gateway: World["gateways"][number], fn: TestFunction) =>
    eventually("it is served there", () => gateway.shards.at(gateway.shards.indexOf(fn.versionId)), patientMs)

  it("go on as they were when the leases of one are lost, and nobody else had them meanwhile", async () => {
    let isBroken = false
    const gateway = await world.addGateway({
      ownership: {},
      brokenStore: () => (isBroken ? "leases" : "nothing")
    })
    const fn = await world.deploy("any")
    world.work(fn, gateway.workerUrl)
    assert.strictEqual((await call(gateway.url, fn, "/first")).status, 200)
    const kept = await call(gateway.url, fn, "/before", { headers: { prefer: "respond-async" } })
    const { requestId } = JSON.parse(await kept.text())
    const shard = gateway.shards.forVersion(fn.versionId)!
    isBroken = true
    const running = call(gateway.url, fn, "/running?ms=5000")
    await eventually("its lease is over", () => !shard.isOpen, patientMs)
    const held = call(gateway.url, fn, "/after")
    isBroken = false
    assert.deepStrictEqual([(await held).status, await (await held).text()], [200, "/after  1"])
    const claimed = await fetch(`${gateway.url}/requests/${requestId}/result?wait=20`)
    assert.deepStrictEqual([claimed.status, await claimed.text()], [200, "/before  1"])
    assert.strictEqual(await (await running).text(), "/running  1")
    assert.deepStrictEqual(world.runs.repeated, [])
    const again = gateway.shards.forVersion(fn.versionId)
    assert.isTrue(again === shard && shard.isOpen)
  })

  it("read what a silent one has while its lease runs out, and then what it took until then", async () => {
    let isSilent = false
    const ownership = { ttlMs: 12_000, renewMs: 500, marginMs: 500 }
    const members = { announceMs: 200, deadAfterMs: 2_500, heirAfterMs: 500 }
    const read: Array<string> = []
    const broken = () => (isSilent ? "everything" : "nothing")
    const owner = await world.addGateway({ ownership, members, brokenStore: broken })
    const heir = await world.addGateway({ ownership, members, onRead: (name) => read.push(name) })
    await settled()
    const index = Array.from({ length: shardCount }, (_, at) => at).find((at) => owner.shards.at(at) !== undefined)!
    const fn = await functionOf(owner, index)
    const later = async (name: string): Promise<string> => {
      const answer = await call(owner.url, fn, `/${name}`, { headers: { prefer: "respond-async" } })
      assert.strictEqual(answer.status, 202)
      return JSON.parse(await answer.text()).requestId
    }
    const early = await later("early")
    read.length = 0
    isSilent = true
    await eventually("its log is read", () => read.includes(`shard-${index}`), patientMs)
    assert.isUndefined(heir.shards.at(index), "it is still the other's")
    assert.isTrue(owner.shards.at(index)?.isOpen, "the other still serves it")
    const late = await later("late")
    await settledAt(heir, fn)
    assert.strictEqual(read.filter((name) => name === `shard-${index}`).length, 1, "it is read once")
    world.work(fn, heir.workerUrl)
    for (const [name, requestId] of Object.entries({ early, late })) {
      const claimed = await fetch(`${heir.url}/requests/${requestId}/result?wait=20`)
      assert.deepStrictEqual([claimed.status, await claimed.text()], [200, `/${name}  1`])
    }
    isSilent = false
  })

  it("say 503 with Retry-After where no owner comes in time, and take nothing of the call", async () => {
    const first = await world.addGateway()
    const second = await world.addGateway()
    let isBroken = false
    const third = await world.addGateway({
      holdMs: 200,
      ownership: {},
      brokenStore: () => (isBroken ? "leases" : "nothing")
    })
    await settled()
    isBroken = true
    const index = Array.from({ length: shardCount }, (_, at) => at).find((at) => third.shards.at(at) !== undefined)!
    const mine = await functionOf(third, index)
    await eventually("its leases are over", () => third.shards.all.every((shard) => !shard.isOpen), patientMs)
    const answer = await call(third.url, mine, "/nowhere")
    assert.strictEqual(answer.status, 503)
    assert.isNotNull(answer.headers.get("retry-after"))
    assert.include(await answer.text(), "nothing was enqueued")
    for (const { shards } of [first, second])
      assert.isTrue(shards.all.length > 0 && shards.all.every((one) => one.isOpen))
    isBroken = false
  })

  /** One whose calls fall to this shard. */
  const functionOf = async (gateway: World["gateways"][number], index: number): Promise<TestFunction> => {
    for (let count = 0; ; count++) {
      const fn = await world.deploy(`at-${index}-${count}`)
      if (gateway.shards.indexOf(fn.versionId) === index) return fn
    }
  }

  it("refuse another number of shards than the fabric has", async () => {
    await world.addGateway()
    let message = ""
    await world.addGateway({ shardCount: 4 }).catch((error: Error) => {
      message = error.message
    })
    assert.include(message, `this fabric has ${shardCount} shards and 4 were asked for`)
  })

  it("keep the connection of a caller in order when a body was refused half way", async () => {
    const { fn, other } = await twoGateways()
    const status = await new Promise<number>((resolve, reject) => {
      const sent = request(`${other.url}/f/${fn.name}/half`, {
        method: "POST",
        headers: { "content-length": "100000" }
      })
      sent.on("response", (response) => resolve(response.statusCode ?? 0))
      sent.on("error", reject)
      sent.write("x")
      setTimeout(() => sent.destroy(new Error("left")), 500)
    }).catch(() => 0)
    assert.strictEqual(status, 0)
    const answer = await call(other.url, fn, "/next")
    assert.strictEqual(answer.status, 200)
  })
})
