/**
 * The body of a light request or response: kept as what it came as, turned into a stream only for who asks for one.
 *
 * - Read at most once: a second read rejects with `TypeError`, as the Fetch standard says.
 * - `whole` is the shortcut that makes small calls cheap: all bytes at once, no stream, no promise.
 *
 * @module
 */
import { Readable } from "node:stream"
import { native } from "./NativeFetch.ts"

/** Opens its stream when it is first asked for. */
export interface LazyStream {
  readonly open: () => ReadableStream<Uint8Array>
}

export type BodyContent = string | Uint8Array | LazyStream | ReadableStream<Uint8Array> | null

const isLazy = (content: BodyContent): content is LazyStream =>
  content !== null && typeof content === "object" && "open" in content

export class LightBody {
  private content: BodyContent
  private stream: ReadableStream<Uint8Array> | undefined
  private consumed = false

  constructor(content: BodyContent) {
    this.content = content
  }

  get isNull(): boolean {
    return this.content === null
  }

  get used(): boolean {
    return this.consumed || (this.stream !== undefined && isDisturbed(this.stream))
  }

  get readable(): ReadableStream<Uint8Array> | null {
    if (this.content === null) return null
    this.stream ??= this.open(this.content)
    return this.stream
  }

  private open(content: Exclude<BodyContent, null>): ReadableStream<Uint8Array> {
    if (isLazy(content)) return content.open()
    if (content instanceof ReadableStream) return content
    const bytes = this.consumed ? undefined : toBytes(content)
    return new ReadableStream({
      type: "bytes",
      start: (controller) => {
        // A byte stream owns what is enqueued and detaches its memory, so it gets a copy (`slice` of a Buffer is none).
        if (bytes !== undefined && bytes.length > 0) controller.enqueue(new Uint8Array(bytes))
        controller.close()
      }
    })
  }

  /** Takes all bytes at once if they are here and nobody has begun to read; marks the body as used. */
  takeWhole(): string | Uint8Array | undefined {
    const { content } = this
    if (this.consumed || this.stream !== undefined) return undefined
    if (content === null) return empty
    if (typeof content !== "string" && !(content instanceof Uint8Array)) return undefined
    this.consumed = true
    return content
  }

  private async take(): Promise<string | Uint8Array> {
    if (this.used || this.stream?.locked === true) throw new TypeError("Body is unusable: Body has already been read")
    const whole = this.takeWhole()
    if (whole !== undefined) return whole
    const stream = this.readable
    this.consumed = true
    return stream === null ? empty : collect(stream)
  }

  async text(): Promise<string> {
    const taken = await this.take()
    const text =
      typeof taken === "string"
        ? taken.toWellFormed()
        : Buffer.from(taken.buffer, taken.byteOffset, taken.byteLength).toString("utf8")
    return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text())
  }

  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    // A copy: what came over the wire is a view into a frame that others share.
    return new Uint8Array(toBytes(await this.take()))
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return (await this.bytes()).buffer
  }

  async blob(type: string): Promise<Blob> {
    return new Blob([await this.bytes()], { type })
  }

  /** `native.Response` parses it: forms are rare and their grammar is not ours. */
  async formData(type: string): Promise<FormData> {
    const bytes = await this.bytes()
    return new (native().Response)(bytes, { headers: { "content-type": type } }).formData()
  }

  /** A second body with the same bytes, as `clone` needs it. */
  tee(): LightBody {
    if (this.used || this.stream?.locked === true) throw new TypeError("Body is unusable: it has been read or locked")
    if (this.stream === undefined && (typeof this.content === "string" || this.content instanceof Uint8Array)) {
      return new LightBody(this.content)
    }
    const stream = this.readable
    if (stream === null) return new LightBody(null)
    const [mine, other] = stream.tee()
    this.content = mine
    this.stream = mine
    return new LightBody(other)
  }
}

const empty = new Uint8Array(0)

/** Node's check takes streams of the web too, which its types do not say. */
const isDisturbed = (stream: ReadableStream<Uint8Array>): boolean =>
  Readable.isDisturbed(stream as unknown as NodeJS.ReadableStream)

export const toBytes = (content: string | Uint8Array): Uint8Array =>
  typeof content === "string" ? Buffer.from(content, "utf8") : content

const collect = async (stream: ReadableStream<Uint8Array>): Promise<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  for await (const chunk of stream) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError("a body stream gave something that is not a Uint8Array")
    chunks.push(chunk)
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
}
