/**
 * The `Request` that a handler gets: all of the Fetch standard, but nothing is built before it is asked for, and Node's
 * own class is loaded only for what is rare (`formData`, passing the request on to `fetch`).
 *
 * `request instanceof Request` holds; `fetch(request)` and `new Request(request)` work after `installFetchApi`.
 *
 * @module
 */
import type { HeaderList } from "../protocol/WorkerMessage.ts"
import { type LazyStream, LightBody } from "./LightBody.ts"
import { LightHeaders } from "./LightHeaders.ts"
import { descendFrom, isNative, native } from "./NativeFetch.ts"

export interface LightRequestInit {
  readonly method: string
  /** Path and query, begins with `/`. */
  readonly path: string
  readonly headers: HeaderList
  readonly body: Uint8Array | LazyStream | null
  readonly signal: () => AbortSignal
}

const plainPath = /^\/(?![/.])[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*$/
const plainHost = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::[1-9][0-9]{0,3})?$/
/** Dot segments, also in disguise, and what a query escapes though a path does not. */
const needsParsing = /\/\.|%2e|'/i
const looksNumeric = /^[0-9.:]+$/

const urlOf = (path: string, headers: HeaderList): string => {
  const host = headers.find((pair) => pair[0] === "host")?.[1] ?? "localhost"
  // What URL parsing would leave as it is needs no parsing; a host of numbers may be an address in another form.
  if (plainPath.test(path) && !needsParsing.test(path)) {
    if (plainHost.test(host) && !looksNumeric.test(host) && !host.endsWith(":80")) return `http://${host}${path}`
  }
  const origin = URL.canParse(`http://${host}/`) ? `http://${host}` : "http://localhost"
  return URL.canParse(origin + path) ? new URL(origin + path).href : `${origin}/`
}

export class LightRequest implements Request {
  #init: LightRequestInit
  #body: LightBody
  #url: string | undefined
  #headers: LightHeaders | undefined
  #native: Request | undefined

  constructor(init: LightRequestInit) {
    this.#init = init
    this.#body = new LightBody(init.body)
  }

  /** What `instanceof Request` asks. */
  static isRequest(value: unknown): boolean {
    return (typeof value === "object" && value !== null && #init in value) || isNative("Request", value)
  }

  /** Node's own request for ours, as native code needs it; anything else as it is. */
  static toNative<Value>(value: Value): Value | Request {
    return typeof value === "object" && value !== null && #init in value ? value.#materialise() : value
  }

  #materialise(): Request {
    if (this.#native !== undefined) return this.#native
    const bodyless = this.method === "GET" || this.method === "HEAD" || this.#body.isNull || this.#body.used
    const init: RequestInit = {
      method: this.method,
      headers: [...this.headers],
      signal: this.signal,
      body: bodyless ? null : this.#body.readable,
      duplex: "half"
    }
    this.#native = new (native().Request)(this.url, init)
    return this.#native
  }

  get method(): string {
    return this.#init.method
  }

  get url(): string {
    this.#url ??= urlOf(this.#init.path, this.#init.headers)
    return this.#url
  }

  get headers(): Headers {
    this.#headers ??= LightHeaders.fromList(this.#init.headers)
    return this.#headers
  }

  get signal(): AbortSignal {
    return this.#init.signal()
  }

  get body(): Request["body"] {
    return this.#body.readable
  }

  get bodyUsed(): boolean {
    return this.#body.used
  }

  text(): Promise<string> {
    return this.#body.text()
  }

  json(): Promise<unknown> {
    return this.#body.json()
  }

  bytes(): Promise<Uint8Array> {
    return this.#body.bytes()
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return this.#body.arrayBuffer()
  }

  blob(): Promise<Blob> {
    return this.#body.blob(this.headers.get("content-type") ?? "")
  }

  formData(): Promise<FormData> {
    return this.#body.formData(this.headers.get("content-type") ?? "")
  }

  clone(): Request {
    const copy = new LightRequest(this.#init)
    copy.#body = this.#body.tee()
    copy.#headers = new LightHeaders(this.headers)
    return copy
  }

  get cache(): Request["cache"] {
    return "default"
  }

  get credentials(): Request["credentials"] {
    return "same-origin"
  }

  get destination(): Request["destination"] {
    return ""
  }

  get duplex(): Request["duplex"] {
    return "half"
  }

  get integrity(): string {
    return ""
  }

  get keepalive(): boolean {
    return false
  }

  get mode(): Request["mode"] {
    return "cors"
  }

  get redirect(): Request["redirect"] {
    return "follow"
  }

  get referrer(): string {
    return "about:client"
  }

  get referrerPolicy(): Request["referrerPolicy"] {
    return ""
  }

  get [Symbol.toStringTag](): string {
    return "Request"
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `Request { method: ${JSON.stringify(this.method)}, url: ${JSON.stringify(this.url)} }`
  }
}

descendFrom("Request", LightRequest.prototype)
