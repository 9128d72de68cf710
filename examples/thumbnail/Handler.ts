/**
 * The HTTP face: `POST /?width=320` with a picture as the body.
 *
 * @module
 */
import * as Thumbnail from "./Thumbnail.ts"

export const handle = async (request: Request): Promise<Response> => {
  if (request.method !== "POST") return refuse(405, "POST a picture here, ?width=16..4096", { allow: "POST" })
  const width = Number(new URL(request.url).searchParams.get("width") ?? 320)
  if (!Number.isInteger(width) || width < Thumbnail.widthMin || width > Thumbnail.widthMax) {
    return refuse(400, `width must be a whole number from ${Thumbnail.widthMin} to ${Thumbnail.widthMax}`)
  }
  try {
    const made = await Thumbnail.make(await readBody(request), width)
    return new Response(Uint8Array.from(made.bytes), {
      headers: { "content-type": "image/webp", "x-width": String(made.width), "x-height": String(made.height) }
    })
  } catch (error) {
    if (error instanceof Thumbnail.Refused) return refuse(error.status, error.message)
    throw error
  }
}

/** Stops at the limit, so that a body of any length costs a bounded amount of memory. */
const readBody = async (request: Request): Promise<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  let bytes = 0
  for await (const chunk of request.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > Thumbnail.bodyBytesMax) {
      throw new Thumbnail.Refused(413, `the body is larger than ${Thumbnail.bodyBytesMax} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

const refuse = (status: number, error: string, headers: Record<string, string> = {}) =>
  Response.json({ error }, { status, headers })
