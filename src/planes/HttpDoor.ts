/**
 * What every HTTP/1.1 request must pass before a door of Millrace looks at what it asks for, and how a door ends a
 * connection that it cannot trust any more. The same for the gateway and the control API.
 *
 * D1 a request whose end or whose host two readers could see differently is refused (RFC 9112 6.1, 6.3, 3.2). D2 answers
 * go out in the order of the requests, a refusal of unreadable bytes too. D3 after an answer that closes the connection
 * nothing that came behind its request is looked at (RFC 9112 9.6). D4 what a peer still sends is read and thrown away for
 * a moment, so that it can read the answer.
 *
 * @module
 */
import type { IncomingMessage, ServerOptions, ServerResponse } from "node:http"
import type { Socket } from "node:net"

// Not by import: that reads all exports of node:http, one of which loads undici, 100 ms and 13 MB that nobody needs.
const { METHODS } = process.getBuiltinModule("node:http")

/** RFC 9112 3 asks for 8,000 octets at least. */
export const targetBytesMax = 8_192
/** Request line and fields together. */
export const headBytesMax = 32_768
/** Beyond a few hundred it is no client; beyond 2,000 Node would leave fields out in silence. */
export const headersMax = 256
/** A name of the DNS has 253 characters at most. */
const hostNameMax = 253
/** How long the rest of what a refused peer sends is read and thrown away. */
const lingerMs = 1_000
/** How often slow heads are looked for. */
const checkEachMs = 1_000

/** For `createServer`. `headersTimeoutMs`: from the connection, or the end of the last request, to the end of the head. */
export const serverOptions = (headersTimeoutMs: number) =>
  ({
    maxHeaderSize: headBytesMax,
    headersTimeout: headersTimeoutMs,
    connectionsCheckingInterval: checkEachMs,
    // Both are looked at in `faultOf`, whose answer says what to change.
    requireHostHeader: false,
    // No upgrade is served, and a declined one is a plain request.
    shouldUpgradeCallback: () => false
  }) satisfies ServerOptions & { readonly shouldUpgradeCallback: () => boolean }

export interface Fault {
  readonly status: 400 | 405 | 408 | 413 | 414 | 417 | 431 | 501 | 505
  /** What is wrong and what to change. */
  readonly detail: string
  readonly allow?: string
}

const fault = (status: Fault["status"], detail: string, allow?: string): Fault =>
  allow === undefined ? { status, detail } : { status, detail, allow }

/** For `Allow`, of whatever takes any method. */
export const methodsServed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
const methods: ReadonlySet<string> = new Set(METHODS.filter((method) => method !== "TRACE" && method !== "CONNECT"))

const targetPattern = /^[\x21\x22\x24-\x7e]+$/
const hostPattern = new RegExp(`^(?:\\[[0-9a-f:.]{2,45}\\]|[\\w.~%-]{0,${hostNameMax}})(?::(\\d{1,5}))?$`, "i")

/** Most calls of a process name the same host. */
let hostKnownGood = "localhost"

const isHost = (host: string): boolean => {
  if (host === hostKnownGood) return true
  const match = hostPattern.exec(host)
  if (match === null || Number(match[1] ?? 0) > 65_535) return false
  hostKnownGood = host
  return true
}

/** Why this head is not looked at any further; undefined: it is in order. */
export const faultOf = (request: IncomingMessage): Fault | undefined => {
  const { headers, rawHeaders, httpVersionMajor, httpVersionMinor, method = "", url = "" } = request
  if (httpVersionMajor === 0) return fault(400, "The request line names no HTTP version: end it with HTTP/1.1.")
  if (httpVersionMajor !== 1) return fault(505, "This port speaks HTTP/1.1 and HTTP/1.0: send one of these versions.")
  if (rawHeaders.length > 2 * headersMax) {
    return fault(431, `The request has ${rawHeaders.length / 2} header fields; send at most ${headersMax}.`)
  }
  if (url.length > targetBytesMax) {
    return fault(
      414,
      `The request target has ${url.length} characters; send at most ${targetBytesMax}, and the rest in the body.`
    )
  }
  if (!targetPattern.test(url)) {
    return fault(
      400,
      "The request target has a character that HTTP does not allow there: percent-encode it, and leave out a fragment (#...)."
    )
  }
  if (!methods.has(method)) {
    return method === "TRACE"
      ? fault(405, "TRACE is not served, because it would show headers back: use another method.", methodsServed)
      : fault(501, "The method is not one of HTTP: check its spelling, which is in capitals.")
  }
  return faultOfHost(request) ?? faultOfFraming(headers, httpVersionMinor)
}

const faultOfHost = ({ headers, rawHeaders, httpVersionMinor }: IncomingMessage): Fault | undefined => {
  let hosts = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ""
    if (name.length === 4 && name.toLowerCase() === "host") hosts++
  }
  // Two hosts might mean two functions: one to whoever filters before us, another to us.
  if (hosts > 1) return fault(400, "The request has more than one Host header: send exactly one.")
  if (hosts === 0 && httpVersionMinor > 0) {
    return fault(400, "The request has no Host header, which HTTP/1.1 needs: send exactly one.")
  }
  return isHost(headers.host ?? "")
    ? undefined
    : fault(400, "The Host header is not a host name or address with an optional port: correct it.")
}

const faultOfFraming = (headers: IncomingMessage["headers"], minor: number): Fault | undefined => {
  const coding = headers["transfer-encoding"]
  if (coding !== undefined) {
    if (minor === 0) return fault(400, "HTTP/1.0 has no Transfer-Encoding: send a Content-Length, or HTTP/1.1.")
    if (coding.toLowerCase() !== "chunked") {
      const codings = coding.split(",").map((name) => name.trim().toLowerCase())
      return codings.filter((name) => name === "chunked").length === 1
        ? fault(
            501,
            "Of transfer codings only `chunked` is served: send the body without the others, or name them in Content-Encoding."
          )
        : fault(400, "Transfer-Encoding must be `chunked`, once: nobody could tell where the body ends.")
    }
  }
  const { expect } = headers
  return expect === undefined || minor === 0 || expect.toLowerCase() === "100-continue"
    ? undefined
    : fault(417, "Of expectations only `100-continue` is met: leave out the Expect header.")
}

/** Whether a body follows the head. */
export const hasBody = ({ headers }: IncomingMessage): boolean => {
  const announced = headers["content-length"]
  return announced === undefined ? headers["transfer-encoding"] !== undefined : Number(announced) > 0
}

/** Whether it asks for a WebSocket, in a way that means something. */
export const asksForWebSocket = ({ headers, httpVersionMinor }: IncomingMessage): boolean =>
  headers.upgrade?.toLowerCase() === "websocket" &&
  httpVersionMinor > 0 &&
  /(?:^|,)\s*upgrade\s*(?:,|$)/i.test(headers.connection ?? "")

/** Connections whose last answer is decided. */
const closing = new WeakSet<Socket>()

/** From here on nothing else that came on this connection is looked at. Whoever calls it answers with `Connection: close`. */
export const closeAfter = (response: ServerResponse): void => {
  closing.add(response.req.socket)
}

export const isClosing = (request: IncomingMessage): boolean => closing.has(request.socket)

/**
 * Writes the body of an answer whose head says its length, while its request is still coming in, and ends our half of
 * the connection. Closing all of it at once could take the answer from the peer again.
 */
export const endLingering = (response: ServerResponse, body: Uint8Array): void => {
  const { req } = response
  response.write(body, () => linger(req.socket))
  req.resume()
}

const linger = (socket: Socket): void => {
  socket.end()
  const timer = setTimeout(() => socket.destroy(), lingerMs)
  socket.once("close", () => clearTimeout(timer))
}

/** A request and its answer. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** What a door does with connections whose bytes its parser gave up. */
export class Failures<E extends Exchange> {
  readonly #latest = new WeakMap<Socket, E>()
  readonly #over = new WeakSet<Socket>()
  readonly #options: {
    /** The whole answer in bytes; it says `Connection: close`. */
    readonly encode: (fault: Fault) => string
    /** The head was in order, the body is not: answer through the response, if it has not begun. */
    readonly bodyFailed: (exchange: E, fault: Fault) => void
  }

  constructor(options: {
    readonly encode: (fault: Fault) => string
    readonly bodyFailed: (exchange: E, fault: Fault) => void
  }) {
    this.#options = options
  }

  /** Every request, in the order of their arrival. */
  track(exchange: E): void {
    this.#latest.set(exchange.request.socket, exchange)
  }

  /** For `clientError`. */
  onError(error: ParserError, socket: Socket): void {
    // What comes behind a request that closes the connection: its answer is still on the way.
    if (error.code === "HPE_CLOSED_CONNECTION") return
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy()
      return
    }
    const latest = this.#latest.get(socket)
    if (latest === undefined || latest.request.complete || latest.response.writableFinished) {
      return this.refuse(socket, faultOfError(error))
    }
    // What it is answered is on the way already.
    if (this.#over.has(socket) || closing.has(socket)) return
    this.#over.add(socket)
    this.#options.bodyFailed(latest, faultOfError(error))
  }

  /** Answers for a request that there is no response for, when it is its turn, and ends the connection. */
  refuse(socket: Socket, fault: Fault): void {
    if (this.#over.has(socket)) return
    this.#over.add(socket)
    const write = () => {
      if (!socket.writable) return
      socket.write(this.#options.encode(fault))
      socket.resume()
      linger(socket)
    }
    const earlier = this.#latest.get(socket)?.response
    if (earlier === undefined || earlier.writableFinished) write()
    else if (!closing.has(socket)) earlier.once("finish", write)
  }
}

export interface ParserError extends Error {
  readonly code?: string
  readonly rawPacket?: Buffer
  /** Of the packet, before the byte that was wrong. */
  readonly bytesParsed?: number
}

const tokenAndBlank = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ /

/** What the parser of Node could not read, by its code. */
const faultOfError = ({ code = "", rawPacket, bytesParsed = 0 }: ParserError): Fault => {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return fault(408, "The request came too slowly, so the connection is closed: send it again, in one go.")
    case "HPE_HEADER_OVERFLOW":
      return isTargetTooLong(rawPacket)
        ? fault(414, `The request target is too long; send at most ${targetBytesMax} bytes, and the rest in the body.`)
        : fault(431, `The header fields are too large; send at most ${headBytesMax} bytes.`)
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return fault(413, "The chunk extensions are too long: leave them out.")
    case "HPE_INVALID_VERSION":
      return /^\S+ +\S+ +HTTP\/\d\.\d\r?$/.test(lineAt(rawPacket, bytesParsed).split("\n", 1)[0] ?? "")
        ? fault(505, "This port speaks HTTP/1.1 and HTTP/1.0: send one of these versions.")
        : notHttp
    case "HPE_PAUSED_H2_UPGRADE":
      return fault(505, "This port speaks HTTP/1.1 and not HTTP/2 without an upgrade: send HTTP/1.1.")
    case "HPE_INVALID_METHOD":
      return tokenAndBlank.test(lineAt(rawPacket, bytesParsed))
        ? fault(501, "The method is not one of HTTP: check its spelling, which is in capitals.")
        : notHttp
    case "HPE_UNEXPECTED_CONTENT_LENGTH":
    case "HPE_INVALID_CONTENT_LENGTH":
    case "HPE_INVALID_TRANSFER_ENCODING":
      return fault(
        400,
        "Where the body ends cannot be told: send one Content-Length in digits, or `Transfer-Encoding: chunked`, not both."
      )
    case "HPE_INVALID_CHUNK_SIZE":
      return fault(400, "A chunk of the body has a size that is none: send hexadecimal digits, and CR LF behind them.")
    case "HPE_INVALID_EOF_STATE":
      return fault(400, "The request broke off before its end: send it whole.")
    case "HPE_INVALID_HEADER_TOKEN":
      return fault(400, "A header field has a character that HTTP does not allow: correct its name or its value.")
    case "HPE_LF_EXPECTED":
    case "HPE_CR_EXPECTED":
    case "HPE_STRICT":
      return fault(400, "A line does not end with CR LF as HTTP/1.1 needs it: correct the line ends.")
    default:
      return notHttp
  }
}

const notHttp = fault(
  400,
  "This is not a well-formed HTTP/1.1 request, so the connection is closed: correct the request."
)

const lineAt = (bytes: Buffer | undefined, at: number): string => {
  if (bytes === undefined) return ""
  const from = at === 0 ? 0 : bytes.lastIndexOf("\n", at - 1) + 1
  return bytes.toString("latin1", from, from + 4_096)
}

/** The first line alone is beyond the bound. */
const isTargetTooLong = (rawPacket: Buffer | undefined): boolean => {
  if (rawPacket === undefined) return false
  const lineEnd = rawPacket.indexOf("\r\n")
  const first = rawPacket.toString("latin1", 0, 64)
  return /^\S+ \S+/.test(first) && !/^\S+:/.test(first) && (lineEnd === -1 || lineEnd > targetBytesMax)
}
