/**
 * A function that does on request what functions do: answers, streams, fails, crashes. Driven by its path and query.
 */
import { existsSync } from "node:fs"
import { serve } from "millrace/worker"

const encoder = new TextEncoder()
let calls = 0

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
    calls++
    const beganAtMs = Date.now()
    const url = new URL(request.url)
    const number = (name: string, otherwise = 0) => Number(url.searchParams.get(name) ?? otherwise)
    switch (url.pathname) {
      case "/echo":
        return new Response(request.body, {
          headers: { "content-type": request.headers.get("content-type") ?? "application/octet-stream" }
        })
      case "/inspect":
        return Response.json({
          method: request.method,
          url: request.url,
          headers: [...request.headers],
          body: await request.text(),
          requestId: context.requestId,
          attempt: context.attempt,
          deadline: context.deadline?.getTime() ?? null,
          tenant: context.tenant,
          pid: process.pid,
          calls,
          beganAtMs
        })
      case "/sleep":
        await sleep(number("ms"), context.signal)
        if (context.signal.aborted) console.log(`aborted ${context.requestId}`)
        return new Response(`slept ${number("ms")}`)
      case "/status":
        return new Response("as asked", { status: number("code", 200), headers: { "x-own": "kept" } })
      case "/throw":
        throw new Error("this handler throws on purpose")
      case "/crash":
        process.exit(7)
        break
      case "/crash-until":
        // A poison that is cured at the given attempt.
        if (context.attempt < number("attempt")) process.exit(8)
        return Response.json({ attempt: context.attempt })
      case "/crash-without": {
        // A poison that is cured by a file.
        const body = Buffer.from(await request.arrayBuffer())
        if (!existsSync(url.searchParams.get("file") ?? "")) process.exit(8)
        return new Response(body, { headers: { "x-attempt": String(context.attempt) } })
      }
      case "/stream": {
        // With a gate, event i is produced when there is a file of that name and i.
        const count = number("n", 3)
        const gate = url.searchParams.get("gate")
        const stream = new ReadableStream<Uint8Array>({
          async pull(controller) {
            for (let i = 0; i < count && !context.signal.aborted; i++) {
              while (gate !== null && !existsSync(`${gate}${i}`) && !context.signal.aborted) await sleep(5)
              controller.enqueue(encoder.encode(`data: ${i}\n\n`))
              await sleep(number("ms"))
              if (url.searchParams.get("crash") === String(i)) process.exit(9)
            }
            controller.close()
          }
        })
        return new Response(stream, { headers: { "content-type": "text/event-stream" } })
      }
      case "/events": {
        // Events with ids of their own (`own=1`), some with comments between, in pieces that respect nothing.
        const count = number("n", 3)
        const own = number("own")
        let text = ""
        for (let i = 1; i <= count; i++) {
          if (own > 0 && i % own === 0) text += `id: own-${i}\n`
          if (i % 7 === 0) text += ": keep-alive\n\n"
          text += `event: tick\ndata: ${i} of ${context.requestId} ${context.attempt}\n\n`
        }
        const bytes = encoder.encode(text)
        const size = number("size", 40)
        const stream = new ReadableStream<Uint8Array>({
          async pull(controller) {
            for (let at = 0; at < bytes.length && !context.signal.aborted; at += size) {
              if (at >= number("crash", Number.POSITIVE_INFINITY)) {
                // With a gate it dies when there is such a file, so that a reader can be there first.
                const gate = url.searchParams.get("gate")
                while (gate !== null && !existsSync(gate) && !context.signal.aborted) await sleep(5)
                process.exit(9)
              }
              controller.enqueue(bytes.slice(at, at + size))
              await sleep(number("ms"))
            }
            controller.close()
          }
        })
        return new Response(stream, { headers: { "content-type": "text/event-stream; charset=utf-8" } })
      }
      case "/bytes": {
        let left = number("n")
        const chunk = new Uint8Array(65_536).fill(120)
        const stream = new ReadableStream<Uint8Array>({
          pull(controller) {
            if (left <= 0) return controller.close()
            controller.enqueue(left >= chunk.length ? chunk : chunk.subarray(0, left))
            left -= chunk.length
          }
        })
        return new Response(stream)
      }
      case "/count": {
        let bytes = 0
        // Reads the first part and then nothing until the file is there.
        const after = url.searchParams.get("after")
        if (request.body !== null) {
          for await (const part of request.body) {
            bytes += part.length
            while (after !== null && !existsSync(after)) await sleep(20)
          }
        }
        return Response.json({ bytes })
      }
      case "/progress":
        context.progress(40, "two fifths")
        await sleep(number("ms"))
        return new Response("done")
      case "/cookies": {
        const headers = new Headers()
        headers.append("set-cookie", "a=1")
        headers.append("set-cookie", "b=2")
        return new Response("two cookies", { headers })
      }
      case "/environment":
        return Response.json(process.env)
      default:
        return new Response(`hello from ${process.pid}`)
    }
    return new Response(null, { status: 500 })
  }
})
