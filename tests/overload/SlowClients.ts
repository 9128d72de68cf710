/**
 * Clients that hold a place and say as little as they can: heads and bodies of which a byte comes now and then, and
 * connections on which nothing comes. Our own, in the manner of `slowhttptest`.
 *
 * @module
 */
import { connect, type Socket } from "node:net"

export const kinds = ["silent", "slow-head", "slow-body", "slow-chunks"] as const
export type Kind = (typeof kinds)[number]

export interface SlowOptions {
  readonly url: string
  /** Path that takes a POST. */
  readonly path: string
  readonly count: number
  /** Between two words of one connection. */
  readonly everyMs: number
  /** Connections opened each 10 ms. */
  readonly batch: number
}

export interface Cut {
  readonly kind: Kind
  /** From the connection to its end by the server. */
  readonly afterMs: number
  /** Status line of what the server said; empty: nothing. */
  readonly said: string
}

const begin: Readonly<Record<Kind, (path: string) => string>> = {
  silent: () => "",
  "slow-head": (path) => `POST ${path} HTTP/1.1\r\nHost: x\r\n`,
  "slow-body": (path) => `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n`,
  "slow-chunks": (path) => `POST ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`
}

const word: Readonly<Record<Kind, (turn: number) => string>> = {
  silent: () => "",
  "slow-head": (turn) => `X-${turn}: ${turn}\r\n`,
  "slow-body": () => "x",
  "slow-chunks": () => "1\r\nx\r\n"
}

/** One connection until the server ends it. */
const one = (options: SlowOptions, kind: Kind, sockets: Set<Socket>): Promise<Cut> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(options.url)
    const startedMs = performance.now()
    let said = ""
    let turn = 0
    const socket = connect(Number(port), hostname, () => socket.write(begin[kind](options.path)))
    sockets.add(socket)
    const timer = setInterval(() => {
      if (socket.writable) socket.write(word[kind](turn++))
    }, options.everyMs)
    socket.on("data", (bytes) => {
      said += bytes.toString("latin1")
    })
    socket.on("error", () => {})
    socket.on("close", () => {
      clearInterval(timer)
      sockets.delete(socket)
      resolve({ kind, afterMs: performance.now() - startedMs, said: said.split("\r\n", 1)[0] ?? "" })
    })
  })

export interface Slow {
  /** Every connection, when all were ended by the server. */
  readonly cuts: Promise<ReadonlyArray<Cut>>
  readonly open: () => number
  /** Ends those that the server did not. */
  readonly stop: () => void
}

/** Opens `count` connections, a quarter of each kind. */
export const start = (options: SlowOptions): Slow => {
  const sockets = new Set<Socket>()
  const cuts: Array<Promise<Cut>> = []
  const opened = new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      for (let index = 0; index < options.batch && cuts.length < options.count; index++) {
        cuts.push(one(options, kinds[cuts.length % kinds.length] ?? "silent", sockets))
      }
      if (cuts.length < options.count) return
      clearInterval(timer)
      resolve()
    }, 10)
  })
  return {
    cuts: opened.then(() => Promise.all(cuts)),
    open: () => sockets.size,
    stop: () => {
      for (const socket of sockets) socket.destroy()
    }
  }
}
