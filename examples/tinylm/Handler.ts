/**
 * The HTTP face of the model: `POST /generate` and `GET /stats`.
 *
 * @module
 */
import * as GenerateRequest from "./GenerateRequest.ts"
import * as Generation from "./Generation.ts"
import * as Model from "./Model.ts"
import * as Tokenizer from "./Tokenizer.ts"
import * as Weights from "./Weights.ts"

export interface Stats {
  running: number
  decodedTokens: number
  completed: number
  cancelled: number
}

export type Handler = (request: Request, context: { readonly signal: AbortSignal }) => Promise<Response>

/** `file`: the bytes of `tiny.bin`. The counters are of this handler, so of one instance. */
export const make = (file: Uint8Array): Handler => {
  const weights = Weights.decode(file)
  const tokenizer = Tokenizer.make(weights)
  const stats: Stats = { running: 0, decodedTokens: 0, completed: 0, cancelled: 0 }
  const generate = counted(Generation.make(Model.make(weights), tokenizer), stats)

  return async (request, { signal }) => {
    const { pathname } = new URL(request.url)
    if (pathname === "/stats") return Response.json(stats)
    if (pathname !== "/generate") return refuse(404, "there is POST /generate and GET /stats")
    if (request.method !== "POST") return refuse(405, "POST a JSON object here", { allow: "POST" })
    const asked = GenerateRequest.decode(await request.json().catch(() => undefined))
    if (typeof asked === "string") return refuse(400, asked)

    const tokens = generate({ ...asked, signal })
    return asked.stream
      ? new Response(eventStream(tokens, tokenizer), { headers: { "content-type": "text/event-stream" } })
      : await wholeAnswer(tokens, tokenizer, asked)
  }
}

/** A reader who walks away ends the generator early: `finish` is then still what it was at the start. */
const counted = (generate: Generation.Generate, stats: Stats): Generation.Generate =>
  async function* (options) {
    stats.running++
    let finish: Generation.Finish = "cancelled"
    try {
      const tokens = generate(options)
      for (;;) {
        const next = await tokens.next()
        if (next.done) {
          finish = next.value
          return finish
        }
        stats.decodedTokens++
        yield next.value
      }
    } finally {
      stats.running--
      if (finish === "cancelled") stats.cancelled++
      else stats.completed++
    }
  }

type Tokens = ReturnType<Generation.Generate>

const wholeAnswer = async (
  tokens: Tokens,
  tokenizer: Tokenizer.Tokenizer,
  { seed }: GenerateRequest.GenerateRequest
): Promise<Response> => {
  const decoded: Array<number> = []
  for (;;) {
    const next = await tokens.next()
    if (!next.done) decoded.push(next.value)
    else if (next.value === "cancelled") return refuse(499, "cancelled by the caller")
    else return Response.json({ text: tokenizer.decode(decoded), tokens: decoded.length, finish: next.value, seed })
  }
}

/** Decodes a token when the reader asks for one, so a slow reader costs no work in advance. */
const eventStream = (tokens: Tokens, tokenizer: Tokenizer.Tokenizer): ReadableStream<Uint8Array> => {
  const encoder = new TextEncoder()
  const event = (data: string) => encoder.encode(`data: ${data}\n\n`)
  return new ReadableStream({
    pull: async (controller) => {
      const next = await tokens.next()
      if (!next.done) return controller.enqueue(event(JSON.stringify({ token: tokenizer.decodeToken(next.value) })))
      // An end without [DONE] could pass for a short text, so a broken stream breaks visibly.
      if (next.value === "cancelled") return controller.error(new DOMException("cancelled", "AbortError"))
      controller.enqueue(event("[DONE]"))
      controller.close()
    },
    cancel: async () => {
      await tokens.return("cancelled")
    }
  })
}

const refuse = (status: number, error: string, headers: Record<string, string> = {}) =>
  Response.json({ error }, { status, headers })
