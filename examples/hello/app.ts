import { setTimeout as delay } from "node:timers/promises"
import { Hono } from "hono"
import { streamSSE } from "hono/streaming"

export const app = new Hono()

app.get("/", (c) => c.text(`Hello, ${c.req.query("name") ?? "world"}!\n`))

/** The body goes back as it comes in: with a large one, the first bytes are back before the last ones are sent. */
app.post("/echo", ({ req }) => {
  const contentType = req.header("content-type") ?? "application/octet-stream"
  return new Response(req.raw.body, { headers: { "content-type": contentType } })
})

/** `n` numbers, 1 to 10,000, `delayMs` apart, 0 to 60,000. */
app.get("/count", (c) => {
  const n = Number(c.req.query("n") ?? 5)
  const delayMs = Number(c.req.query("delayMs") ?? 200)
  if (!Number.isInteger(n) || n < 1 || n > 10_000) return c.text("n must be a whole number from 1 to 10000\n", 400)
  if (!(delayMs >= 0 && delayMs <= 60_000)) return c.text("delayMs must be a number from 0 to 60000\n", 400)
  return streamSSE(c, async (stream) => {
    for (let i = 1; i <= n && !stream.aborted; i++) {
      if (i > 1) await delay(delayMs)
      await stream.writeSSE({ data: String(i) })
    }
  })
})
