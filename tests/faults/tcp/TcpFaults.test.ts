/**
 * The proxy itself: what each fault does to a connection, and what it leaves alone.
 */
import { once } from "node:events"
import { connect, createServer, type Server, type Socket } from "node:net"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Random from "../../chaos/Random.ts"
import { eventually } from "../../support/TestPlatform.ts"
import * as TcpFaults from "./TcpFaults.ts"
import * as Weather from "./Weather.ts"

let server: Server
let proxy: TcpFaults.TcpFaults
/** The server's ends. */
let accepted: Array<Socket>

beforeEach(async () => {
  accepted = []
  server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {})
    accepted.push(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  proxy = await TcpFaults.start({ next: Random.make(7).next })
  const address = server.address()
  proxy.aim(typeof address === "object" ? (address?.port ?? 0) : 0)
})
afterEach(async () => {
  await proxy.close()
  for (const socket of accepted) socket.destroy()
  server.close()
})

interface Pair {
  readonly caller: Socket
  readonly peer: Socket
  /** What each end got so far. */
  readonly atCaller: () => Buffer
  readonly atPeer: () => Buffer
}

const collect = (socket: Socket) => {
  const parts: Array<Buffer> = []
  socket.on("data", (bytes) => parts.push(bytes))
  return () => Buffer.concat(parts)
}

const dial = async (): Promise<Pair> => {
  const caller = connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true })
  caller.on("error", () => {})
  await once(caller, "connect")
  const before = accepted.length
  const peer = await eventually("the connection arrives", () => accepted[before] ?? accepted.at(-1))
  return { caller, peer, atCaller: collect(caller), atPeer: collect(peer) }
}

const noise = (length: number) => {
  const { below } = Random.make(length)
  return Buffer.from(Array.from({ length }, () => below(256)))
}

const arrived = (what: () => Buffer, bytes: Buffer) =>
  eventually(`${bytes.length} bytes arrive`, () => (what().length >= bytes.length ? what() : undefined))

/** Enough to see that something does not come: the rest of the test would be too late for it. */
const aWhile = () => new Promise((resolve) => setTimeout(resolve, 100))

describe("a proxy with faults", () => {
  it.each<[string, Partial<TcpFaults.Faults>]>([
    ["nothing", {}],
    ["latency and jitter", { latencyMs: 5, jitterMs: 20 }],
    ["small pieces", { sliceBytesMax: 700, jitterMs: 1 }],
    ["little bandwidth", { bytesPerSecond: 3_000_000 }]
  ])("T1: passes on every byte, once and in order, with %s", async (_, faults) => {
    proxy.set("both", faults)
    const { caller, peer, atCaller, atPeer } = await dial()
    const [sent, answered] = [noise(200_000), noise(150_001)]
    caller.end(sent)
    peer.end(answered)
    expect((await arrived(atPeer, sent)).equals(sent)).toBe(true)
    expect((await arrived(atCaller, answered)).equals(answered)).toBe(true)
    await Promise.all([caller, peer].map((socket) => socket.destroyed || once(socket, "close")))
    expect(atPeer().length + atCaller().length).toBe(sent.length + answered.length)
  })

  it("delivers nothing sooner than its latency and bandwidth allow", async () => {
    const { caller, peer, atPeer } = await dial()
    proxy.set("up", { latencyMs: 80, bytesPerSecond: 100_000 })
    const startedMs = performance.now()
    const sent = noise(10_000)
    caller.write(sent)
    await arrived(atPeer, sent)
    expect(performance.now() - startedMs).toBeGreaterThan(175)
    expect(peer.destroyed).toBe(false)
  })

  it("holds everything back while it is paused, and passes it on afterwards", async () => {
    const { caller, atPeer } = await dial()
    proxy.set("up", { paused: true })
    const sent = noise(50_000)
    caller.write(sent)
    await aWhile()
    expect(atPeer().length).toBe(0)
    proxy.heal()
    expect((await arrived(atPeer, sent)).equals(sent)).toBe(true)
  })

  it("T2: stops the writer when nothing is read", async () => {
    const { caller, peer } = await dial()
    peer.pause()
    peer.removeAllListeners("data")
    let sent = 0
    const chunk = noise(64 * 1024)
    while (sent < 200 * chunk.length) {
      sent += chunk.length
      if (caller.write(chunk)) continue
      const isFlowing = await Promise.race([once(caller, "drain").then(() => true), aWhile().then(() => false)])
      if (!isFlowing) break
    }
    // The buffers of three sockets and of the proxy are far less.
    expect(sent).toBeLessThan(200 * chunk.length)
  })

  it("T3: swallows one way, passes the other, and resets what lost bytes when it is lifted", async () => {
    const { caller, peer, atCaller, atPeer } = await dial()
    proxy.set("down", { blackhole: true })
    peer.write("lost")
    caller.write("there")
    await arrived(atPeer, Buffer.from("there"))
    await aWhile()
    expect([atCaller().length, caller.destroyed]).toEqual([0, false])
    proxy.heal()
    await eventually("both are closed", () => (caller.destroyed && peer.destroyed) || undefined)
    expect(atCaller().length).toBe(0)
  })

  it("resets both sides", async () => {
    const { caller, peer } = await dial()
    const errors = Promise.all([once(caller, "error"), once(peer, "error")])
    proxy.reset()
    const codes = (await errors).map(([error]) => (error instanceof Error && "code" in error ? error.code : error))
    expect(codes).toEqual(["ECONNRESET", "ECONNRESET"])
    expect(proxy.connectionCount()).toBe(0)
  })

  it("closes slowly: the end comes later than the last byte, and the other way still works", async () => {
    proxy.set("up", { slowCloseMs: 120 })
    const { caller, peer, atCaller, atPeer } = await dial()
    let isEnded = false
    peer.once("end", () => {
      isEnded = true
    })
    const startedMs = performance.now()
    caller.end("last")
    await arrived(atPeer, Buffer.from("last"))
    peer.write("still")
    await arrived(atCaller, Buffer.from("still"))
    await eventually("the end comes", () => isEnded || undefined)
    expect(performance.now() - startedMs).toBeGreaterThan(110)
  })

  it("T4: tells every fault in order, and the same seed does the same", async () => {
    const faultsOf = (seed: number) => {
      const random = Random.make(seed)
      return Array.from({ length: 50 }, () => Weather.choose(random))
    }
    expect(faultsOf(3)).toEqual(faultsOf(3))
    expect(faultsOf(3)).not.toEqual(faultsOf(4))
    const kinds = new Set(
      faultsOf(3).map((fault) => (fault.kind === "set" ? Object.keys(fault.faults)[0] : fault.kind))
    )
    expect(kinds.size).toBe(8)
    proxy.set("up", { latencyMs: 5 })
    proxy.reset()
    proxy.heal()
    const told = proxy.events.slice(1).map(({ what }) => what)
    expect(told).toEqual(["up: latencyMs 5", "reset 0 of 0 connections", "healed both"])
  })
})
