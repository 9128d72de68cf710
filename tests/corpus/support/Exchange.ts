/**
 * One connection of a client that sends exactly the bytes that it is given and takes the answers apart itself, so that
 * an answer too many, or a half one, is seen.
 *
 * @module
 */
import { connect, type Socket } from "node:net"

export interface RawAnswer {
  readonly status: number
  /** Names in lower case; repeated ones joined by a line end, which no value holds. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface Exchanged {
  readonly answers: ReadonlyArray<RawAnswer>
  /** Bytes behind the last whole answer. */
  readonly rest: string
  /** The server closed without being asked to. */
  readonly isClosed: boolean
}

export interface ExchangeOptions {
  /** Answers to wait for, interim ones too. */
  readonly count: number
  /** Closes its half after the last byte. */
  readonly isEnded?: boolean
  /** Sent when the answers are there and the connection is open: whatever was hidden is answered before it. */
  readonly sentinel?: string
  readonly deadlineMs?: number
}

/** Asks the server for an answer of its own and the end of the connection. */
export const healthSentinel = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

const bodyOf = (headers: RawAnswer["headers"], bytes: string, isHead: boolean, status: number) => {
  if (isHead || status < 200 || status === 204 || status === 304) return { body: "", end: 0 }
  if (headers["transfer-encoding"] === "chunked") {
    let body = ""
    for (let at = 0; ; ) {
      const lineEnd = bytes.indexOf("\r\n", at)
      if (lineEnd < 0) return undefined
      const size = Number.parseInt(bytes.slice(at, lineEnd), 16)
      const from = lineEnd + 2
      if (bytes.length < from + size + 2) return undefined
      body += bytes.slice(from, from + size)
      at = from + size + 2
      if (size === 0) return { body, end: at }
    }
  }
  const length = Number(headers["content-length"])
  return bytes.length < length ? undefined : { body: bytes.slice(0, length), end: length }
}

const takeApart = (text: string, isHead: boolean): { answers: ReadonlyArray<RawAnswer>; rest: string } => {
  const answers: Array<RawAnswer> = []
  let rest = text
  for (;;) {
    const headEnd = rest.indexOf("\r\n\r\n")
    const status = /^HTTP\/1\.1 (\d{3}) [A-Za-z' -]*\r\n/.exec(rest)
    if (headEnd < 0 || status === null) return { answers, rest }
    const headers: Record<string, string> = {}
    for (const line of rest.slice(0, headEnd).split("\r\n").slice(1)) {
      const colon = line.indexOf(": ")
      const name = line.slice(0, colon).toLowerCase()
      headers[name] = headers[name] === undefined ? line.slice(colon + 2) : `${headers[name]}\n${line.slice(colon + 2)}`
    }
    const isFirstHead = isHead && answers.length === 0
    const body = bodyOf(headers, rest.slice(headEnd + 4), isFirstHead, Number(status[1]))
    if (body === undefined) return { answers, rest }
    answers.push({ status: Number(status[1]), headers, body: body.body })
    rest = rest.slice(headEnd + 4 + body.end)
  }
}

/** Resolves when the server has closed, or what is left open was closed with the help of the sentinel. */
export const exchange = (url: string, bytes: string, options: ExchangeOptions): Promise<Exchanged> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const isHead = bytes.startsWith("HEAD ")
    let seen = ""
    let isAsked = false
    const socket: Socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true }, () => {
      if (options.isEnded === true) socket.end(bytes, "latin1")
      else socket.write(bytes, "latin1")
    })
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`the connection stays open after ${JSON.stringify(seen.slice(0, 2000))}`))
    }, options.deadlineMs ?? 10_000)
    socket.on("data", (chunk) => {
      seen += chunk.toString("latin1")
      if (isAsked || options.isEnded === true || options.sentinel === undefined) return
      const { answers } = takeApart(seen, isHead)
      if (answers.length < options.count || answers.some(({ headers }) => headers["connection"] === "close")) return
      isAsked = true
      socket.write(options.sentinel)
    })
    socket.on("end", () => socket.end())
    // A server that closes while we still send may reset the connection; what it said before counts.
    socket.on("error", () => {})
    socket.on("close", () => {
      clearTimeout(timer)
      resolve({ ...takeApart(seen, isHead), isClosed: !isAsked })
    })
  })
