/**
 * The HTTP face: `POST /` with a picture as the body, its text back as JSON.
 *
 * @module
 */
import { type Reader, Unreadable } from "./Reader.ts"

export const bodyBytesMax = 10 * 1024 * 1024

export const make =
  (reader: Reader) =>
  async (request: Request): Promise<Response> => {
    if (request.method !== "POST") return refuse(405, "POST a picture here", { allow: "POST" })
    const picture = await readBody(request)
    if (picture === undefined) return refuse(413, `the body is larger than ${bodyBytesMax} bytes`)
    try {
      const startedMs = performance.now()
      const { text, confidence } = await reader.read(picture)
      return Response.json({ text, confidence, readMs: Math.round(performance.now() - startedMs) })
    } catch (error) {
      if (error instanceof Unreadable) return refuse(415, error.message)
      throw error
    }
  }

/** Stops at the limit, so that a body of any length costs a bounded amount of memory. */
const readBody = async (request: Request): Promise<Uint8Array | undefined> => {
  const chunks: Array<Uint8Array> = []
  let bytes = 0
  for await (const chunk of request.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > bodyBytesMax) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

const refuse = (status: number, error: string, headers: Record<string, string> = {}) =>
  Response.json({ error }, { status, headers })
