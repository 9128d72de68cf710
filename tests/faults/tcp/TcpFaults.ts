/**
 * A TCP proxy that does to connections what networks do. Each direction of a connection has faults of its own; they are
 * in force for bytes that come after they were set, also on connections that are open.
 *
 * Laws: T1 without a blackhole or a reset the other side gets every byte, once, in order, however late and in whatever
 * pieces. T2 bytes in the proxy are bounded: a reader that stops, stops the writer. T3 what a blackhole swallowed never
 * appears: connections that lost bytes are reset when it is lifted. T4 every fault is in `events`, in order.
 *
 * @module
 */
import { connect, createServer, type Server, type Socket } from "node:net"

/** `up`: from who connected; `down`: towards it. */
export type Direction = "up" | "down"

export interface Faults {
  /** Each piece arrives so much later. */
  readonly latencyMs: number
  /** Up to so much more, by lot; order is kept. */
  readonly jitterMs: number
  readonly bytesPerSecond: number
  /** Pieces of one up to so many bytes, by lot. */
  readonly sliceBytesMax: number
  /** Bytes are taken and vanish; nobody is told. */
  readonly blackhole: boolean
  /** Nothing is taken: the sender's window fills. */
  readonly paused: boolean
  /** The end of the stream arrives so much later than its last byte. */
  readonly slowCloseMs: number
}

export const none: Faults = {
  latencyMs: 0,
  jitterMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  sliceBytesMax: Number.POSITIVE_INFINITY,
  blackhole: false,
  paused: false,
  slowCloseMs: 0
}

export interface FaultEvent {
  readonly atMs: number
  readonly what: string
}

export interface TcpFaults {
  readonly port: number
  readonly events: ReadonlyArray<FaultEvent>
  readonly connectionCount: () => number
  /** Bytes passed on so far. */
  readonly passedBytes: (direction: Direction) => number
  /** Where the next connections go; before that they wait. */
  readonly aim: (port: number) => void
  /** What is not named is as without faults. */
  readonly set: (direction: Direction | "both", faults: Partial<Faults>) => void
  /** Ends all faults. */
  readonly heal: () => void
  /** RST on both sides of `count` connections, the oldest first; default: all. */
  readonly reset: (count?: number) => void
  readonly close: () => Promise<void>
}

/** What waits in one direction of a connection (T2). */
const heldBytesMax = 256 * 1024

export interface Options {
  readonly next: () => number
  readonly port?: number
}

/** `next`: a number from 0 to 1; the lot of every fault. */
export const start = async ({ next, port = 0 }: Options): Promise<TcpFaults> => {
  const wires = new Wires(next)
  await new Promise<void>((resolve) => wires.server.listen(port, "127.0.0.1", resolve))
  const address = wires.server.address()
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port")
  return {
    port: address.port,
    events: wires.events,
    connectionCount: () => wires.links.size,
    passedBytes: (direction) => wires.passed[direction],
    aim: (target) => wires.aim(target),
    set: (direction, faults) => wires.set(direction, faults),
    heal: () => wires.set("both", {}),
    reset: (count) => wires.reset(count),
    close: () => wires.close()
  }
}

interface Link {
  readonly caller: Socket
  readonly target: Socket
  readonly pipes: ReadonlyArray<Pipe>
}

class Wires {
  readonly server: Server
  readonly events: Array<FaultEvent> = []
  readonly links = new Set<Link>()
  readonly passed = { up: 0, down: 0 }
  readonly next: () => number
  #targetPort = Promise.withResolvers<number>()
  #faults: Readonly<Record<Direction, Faults>> = { up: none, down: none }

  constructor(next: () => number) {
    this.next = next
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (caller) => {
      caller.on("error", () => {})
      void this.#targetPort.promise.then((port) => this.#accept(caller, port))
    })
  }

  faults(direction: Direction): Faults {
    return this.#faults[direction]
  }

  note(what: string): void {
    this.events.push({ atMs: performance.now(), what })
  }

  aim(port: number): void {
    this.#targetPort.resolve(port)
    this.#targetPort = Promise.withResolvers<number>()
    this.#targetPort.resolve(port)
    this.note(`aimed at ${port}`)
  }

  set(direction: Direction | "both", faults: Partial<Faults>): void {
    const now = { ...none, ...faults }
    this.#faults = direction === "both" ? { up: now, down: now } : { ...this.#faults, [direction]: now }
    const text = Object.entries(faults).map(([name, value]) => `${name} ${value}`)
    this.note(text.length === 0 ? `healed ${direction}` : `${direction}: ${text.join(", ")}`)
    for (const link of [...this.links]) {
      // T3.
      if (link.pipes.some((pipe) => pipe.hasLost && !this.faults(pipe.direction).blackhole)) this.#reset(link)
      else for (const pipe of link.pipes) pipe.move()
    }
  }

  reset(count = Number.POSITIVE_INFINITY): void {
    const chosen = [...this.links].slice(0, count)
    this.note(`reset ${chosen.length} of ${this.links.size} connections`)
    for (const link of chosen) this.#reset(link)
  }

  async close(): Promise<void> {
    for (const link of [...this.links]) this.#reset(link)
    await new Promise<void>((resolve) => this.server.close(() => resolve()))
  }

  #reset(link: Link): void {
    this.links.delete(link)
    for (const pipe of link.pipes) pipe.stop()
    link.caller.resetAndDestroy()
    link.target.resetAndDestroy()
  }

  #accept(caller: Socket, port: number): void {
    if (caller.destroyed) return
    const target = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
    const link: Link = {
      caller,
      target,
      pipes: [new Pipe(this, "up", caller, target), new Pipe(this, "down", target, caller)]
    }
    this.links.add(link)
    // One side is gone without an end: so is the other.
    for (const socket of [caller, target]) {
      socket.on("error", () => {
        if (this.links.has(link)) this.#reset(link)
      })
    }
    let open = 2
    for (const socket of [caller, target]) {
      socket.on("close", () => {
        if (--open === 0) this.links.delete(link)
      })
    }
  }
}

class Pipe {
  readonly direction: Direction
  hasLost = false
  readonly #wires: Wires
  readonly #from: Socket
  readonly #to: Socket
  /** Pieces that are not due yet. */
  readonly #held: Array<{ readonly bytes: Buffer; readonly dueMs: number }> = []
  #heldBytes = 0
  #lastDueMs = 0
  #isEnded = false
  #isStopped = false
  #isWaitingForDrain = false
  #timer: NodeJS.Timeout | undefined

  constructor(wires: Wires, direction: Direction, from: Socket, to: Socket) {
    this.#wires = wires
    this.direction = direction
    this.#from = from
    this.#to = to
    from.on("data", (bytes) => this.#take(bytes))
    from.on("end", () => {
      this.#isEnded = true
      this.#lastDueMs = Math.max(this.#lastDueMs, performance.now()) + this.#faults.slowCloseMs
      this.move()
    })
    to.on("drain", () => {
      this.#isWaitingForDrain = false
      this.move()
    })
    if (this.#faults.paused) from.pause()
  }

  get #faults(): Faults {
    return this.#wires.faults(this.direction)
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #take(bytes: Buffer): void {
    const { blackhole, latencyMs, jitterMs, bytesPerSecond, sliceBytesMax } = this.#faults
    if (blackhole) {
      this.hasLost = true
      return
    }
    for (let at = 0; at < bytes.length; ) {
      const size = Number.isFinite(sliceBytesMax) ? 1 + Math.floor(this.#wires.next() * sliceBytesMax) : bytes.length
      const piece = bytes.subarray(at, at + size)
      at += piece.length
      const dueMs = performance.now() + latencyMs + (jitterMs === 0 ? 0 : this.#wires.next() * jitterMs)
      const sendingMs = (piece.length * 1000) / bytesPerSecond
      // Order is kept: nothing is due before what came before it.
      this.#lastDueMs = Math.max(dueMs, this.#lastDueMs) + sendingMs
      this.#held.push({ bytes: piece, dueMs: this.#lastDueMs })
      this.#heldBytes += piece.length
    }
    this.move()
  }

  /** Passes on what is due, and decides whether more is taken. */
  move(): void {
    if (this.#isStopped) return
    clearTimeout(this.#timer)
    const { paused } = this.#faults
    while (!paused && !this.#isWaitingForDrain && this.#held.length > 0) {
      const [first] = this.#held
      if (first === undefined || first.dueMs > performance.now()) break
      this.#held.shift()
      this.#heldBytes -= first.bytes.length
      this.#wires.passed[this.direction] += first.bytes.length
      this.#isWaitingForDrain = !this.#to.write(first.bytes)
    }
    if (paused || this.#heldBytes >= heldBytesMax) this.#from.pause()
    else this.#from.resume()
    if (paused || this.#isWaitingForDrain) return
    const dueMs = this.#held[0]?.dueMs ?? (this.#isEnded ? this.#lastDueMs : undefined)
    if (dueMs === undefined) return
    const waitMs = dueMs - performance.now()
    if (this.#held.length === 0 && waitMs <= 0) {
      if (!this.#to.writableEnded && !this.hasLost) this.#to.end()
    } else this.#timer = setTimeout(() => this.move(), Math.max(1, waitMs))
  }
}
