/**
 * `Response` of the Fetch standard without loading Node's, as the global class of a process that called `serve`.
 *
 * Text and bytes stay what they are until they are sent; bodies of rarer kinds (forms, async iterables) go through
 * Node's own class once, at construction. A law compares it with Node's.
 *
 * @module
 */
import { type BodyContent, LightBody } from "./LightBody.ts"
import { LightHeaders } from "./LightHeaders.ts"
import { descendFrom, isNative, native } from "./NativeFetch.ts"

type Init = ConstructorParameters<typeof Response>[1]
type BodyInit = ConstructorParameters<typeof Response>[0] | ReadableStream

interface Extracted {
  readonly content: BodyContent
  readonly type: string | null
}

const extract = (body: BodyInit | null | undefined): Extracted => {
  if (body === null || body === undefined) return { content: null, type: null }
  if (typeof body === "string") return { content: body, type: "text/plain;charset=UTF-8" }
  // The standard copies: the caller may use its buffer again as soon as the constructor returns.
  if (body instanceof ArrayBuffer) return { content: new Uint8Array(body.slice(0)), type: null }
  if (ArrayBuffer.isView(body)) {
    const view = new Uint8Array(body.buffer, body.byteOffset, body.byteLength)
    return { content: view.slice(), type: null }
  }
  if (body instanceof ReadableStream) {
    if (body.locked) throw new TypeError("Response body object should not be disturbed or locked")
    return { content: body, type: null }
  }
  if (body instanceof URLSearchParams) {
    return { content: body.toString(), type: "application/x-www-form-urlencoded;charset=UTF-8" }
  }
  const made = new (native().Response)(body)
  return { content: made.body, type: made.headers.get("content-type") }
}

const isNullBodyStatus = (status: number): boolean =>
  status === 204 || status === 205 || status === 304 || status === 101 || status === 103

const reasonPhrase = /^[\t\x20-\x7e\x80-\xff]*$/

export class LightResponse implements Response {
  #status: number
  #statusText: string
  #headers: LightHeaders
  #body: LightBody
  #type: Response["type"] = "default"

  constructor(body?: BodyInit | null, init?: Init) {
    const status = init?.status === undefined ? 200 : Number(init.status)
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new RangeError(`init["status"] must be in the range of 200 to 599, inclusive, and is ${status}`)
    }
    const statusText = init?.statusText === undefined ? "" : String(init.statusText)
    if (!reasonPhrase.test(statusText)) throw new TypeError("Invalid statusText")
    this.#status = status
    this.#statusText = statusText
    this.#headers = new LightHeaders(init?.headers)
    const { content, type } = extract(body)
    if (content !== null && isNullBodyStatus(status)) {
      throw new TypeError(`Response constructor: Invalid response status code ${status} for a response with a body`)
    }
    this.#body = new LightBody(content)
    if (type !== null && !this.#headers.has("content-type")) this.#headers.append("content-type", type)
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && (#body in value || isNative("Response", value))
  }

  /** Whole body of a response that is ours, has one in memory and was not read: the cheap way out. Marks it as used. */
  static takeWhole(response: object): string | Uint8Array | undefined {
    return #body in response ? response.#body.takeWhole() : undefined
  }

  static error(): Response {
    const response = new LightResponse(null)
    response.#status = 0
    response.#type = "error"
    return response
  }

  static redirect(url: string | URL, status = 302): Response {
    if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError(`Invalid status code ${status}`)
    const target = String(url)
    if (!URL.canParse(target)) throw new TypeError(`Failed to parse URL from ${target}`)
    return new LightResponse(null, { status, headers: { location: new URL(target).href } })
  }

  static json(data: unknown, init?: Init): Response {
    const text = JSON.stringify(data)
    if (text === undefined) throw new TypeError("Value is not JSON serializable")
    const response = new LightResponse(text, { ...init, headers: undefinedToEmpty(init?.headers) })
    // A type that the caller gave stays; the one that text brings does not.
    if (!new LightHeaders(init?.headers).has("content-type")) response.#headers.set("content-type", "application/json")
    return response
  }

  get status(): number {
    return this.#status
  }

  get statusText(): string {
    return this.#statusText
  }

  get ok(): boolean {
    return this.#status >= 200 && this.#status <= 299
  }

  get headers(): Headers {
    return this.#headers
  }

  get type(): Response["type"] {
    return this.#type
  }

  get url(): string {
    return ""
  }

  get redirected(): boolean {
    return false
  }

  get body(): Response["body"] {
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
    return this.#body.blob(this.#headers.get("content-type") ?? "")
  }

  formData(): Promise<FormData> {
    return this.#body.formData(this.#headers.get("content-type") ?? "")
  }

  clone(): Response {
    const body = this.#body.tee()
    const copy = new LightResponse(null, { statusText: this.#statusText, headers: this.#headers })
    copy.#status = this.#status
    copy.#type = this.#type
    copy.#body = body
    return copy
  }

  get [Symbol.toStringTag](): string {
    return "Response"
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return `Response { status: ${this.#status}, headers: ${JSON.stringify([...this.#headers])} }`
  }
}

const undefinedToEmpty = <Value>(headers: Value | undefined): Value | Array<[string, string]> => headers ?? []

descendFrom("Response", LightResponse.prototype)
