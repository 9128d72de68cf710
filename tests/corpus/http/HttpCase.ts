/**
 * One row of the HTTP corpus: bytes as a client could send them, and what an HTTP/1.1 server has to say to them. The
 * statuses come from RFC 9110 and RFC 9112 (in `rule`), not from what Millrace does today.
 *
 * @module
 */
export interface HttpCase {
  readonly name: string
  /** Where the status comes from. */
  readonly rule: string
  /** One character is one byte. */
  readonly bytes: string
  /** Of each answer in order, interim ones too. */
  readonly statuses: ReadonlyArray<number>
  /** The sender closes its half after the last byte. */
  readonly isEnded?: true
  /** What the function that was called reports of the call; see `/inspect` of the probe. */
  readonly sees?: {
    readonly url?: string
    readonly body?: string
    readonly headers?: Readonly<Record<string, string>>
    readonly without?: ReadonlyArray<string>
  }
}

/** Answers with what it was called with. */
export const inspect = "/f/corpus/inspect"

/** Hidden in the bodies and tails of other requests: whatever runs it has been smuggled past. */
export const hidden = "GET /f/corpus/hidden HTTP/1.1\r\nHost: x\r\n\r\n"

/** `line` without its version, headers without their line ends. */
export const request = (line: string, headers: ReadonlyArray<string>, body = ""): string =>
  `${[`${line} HTTP/1.1`, "Host: x", ...headers].join("\r\n")}\r\n\r\n${body}`

export const post = (headers: ReadonlyArray<string>, body = ""): string => request(`POST ${inspect}`, headers, body)
export const get = (headers: ReadonlyArray<string>, body = ""): string => request(`GET ${inspect}`, headers, body)
export const chunked = (body: string, headers: ReadonlyArray<string> = []): string =>
  post(["Transfer-Encoding: chunked", ...headers], body)
