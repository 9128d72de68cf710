/**
 * A function for what well-behaved functions never do: lies about lengths, odd statuses, answers before it reads.
 */
import { serve } from "millrace/worker"

const encoder = new TextEncoder()
const seen = new Map<string, number>()
const started = new Map<string, number>()

const sleep = (ms: number, signal?: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal?.addEventListener("abort", () => {
      clearTimeout(timer)
      resolve()
    })
  })

serve({
  fetch: async (request, context) => {
    const url = new URL(request.url)
    const number = (name: string, otherwise = 0) => Number(url.searchParams.get(name) ?? otherwise)
    switch (url.pathname) {
      case "/once": {
        // Counts how often it ran for a name.
        const name = url.searchParams.get("name") ?? ""
        seen.set(name, (seen.get(name) ?? 0) + 1)
        const body = await request.text()
        await sleep(number("ms"))
        const more = "x".repeat(number("n"))
        return Response.json(
          { name, runs: seen.get(name), body, pid: process.pid, more },
          { status: number("code", 200) }
        )
      }
      case "/runs":
        return Response.json({ runs: seen.get(url.searchParams.get("name") ?? "") ?? 0 })
      case "/bodyless":
        return new Response(null, { status: number("code", 204), headers: { etag: '"one"' } })
      case "/lie": {
        // Announces one length and streams another.
        const bytes = encoder.encode("x".repeat(number("bytes")))
        const stream = new ReadableStream<Uint8Array>({
          async start(controller) {
            await sleep(20)
            controller.enqueue(bytes)
            await sleep(20)
            controller.close()
          }
        })
        return new Response(stream, { headers: { "content-length": String(number("said")) } })
      }
      case "/unread":
        // Answers at once and leaves the body where it is.
        return new Response("did not read it")
      case "/slow-count": {
        let bytes = 0
        if (request.body !== null) {
          for await (const part of request.body) {
            bytes += part.length
            await sleep(number("ms"))
          }
        }
        return Response.json({ bytes })
      }
      case "/forever": {
        // Tells what became of it by its name.
        const name = url.searchParams.get("name") ?? ""
        started.set(name, (started.get(name) ?? 0) + 1)
        console.log(`started ${name}`)
        await new Promise<void>((resolve) => context.signal.addEventListener("abort", () => resolve(), { once: true }))
        console.log(`aborted ${name}: ${String(context.signal.reason)}`)
        return new Response("too late")
      }
      case "/events-once": {
        // The first attempt dies in the middle of its stream.
        const { attempt } = context
        const stream = new ReadableStream<Uint8Array>({
          async start(controller) {
            for (let i = 1; i <= number("n", 3); i++) {
              controller.enqueue(encoder.encode(`data: ${i} of attempt ${attempt}\n\n`))
              await sleep(20)
              if (attempt === 1 && i === 2) process.exit(9)
            }
            controller.close()
          }
        })
        return new Response(stream, { headers: { "content-type": "text/event-stream" } })
      }
      case "/deaf":
        // Hears of no cancellation.
        await new Promise(() => setInterval(() => {}, 1_000))
        return new Response("never")
      case "/large-json":
        return Response.json({ text: "x".repeat(number("n")) })
      case "/headers": {
        const headers = new Headers({ connection: "x-hidden", "x-hidden": "1", "keep-alive": "timeout=1" })
        headers.append("x-many", "1")
        headers.append("x-many", "2")
        headers.set("x-latin", "caf\u00e9")
        return new Response("headers", { headers })
      }
      default:
        return new Response(`peculiar ${process.pid}`)
    }
  }
})
