// The same as server.py for a machine without Python. Knows nothing of Millrace either: no import but Node's own.
import { createServer } from "node:http"

const statistics = (text) => {
  const words = text.toLowerCase().match(/[a-z']+/g) ?? []
  const counts = new Map()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  // By count, then by the alphabet, so that the answer does not depend on the order of the text.
  const top = [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(0, 5)
  const lines = text.split(/\r\n|\r|\n/)
  return { lines: lines.at(-1) === "" ? lines.length - 1 : lines.length, words: words.length, top }
}

const route = async (request) => {
  const missing = [404, { error: "there is GET /, GET /health and POST /statistics" }]
  if (request.method === "GET" && request.url === "/health") return [200, { status: "ok" }]
  if (request.method === "GET" && request.url === "/") return [200, { language: "javascript", pid: process.pid }]
  if (request.method !== "POST") return missing
  const text = Buffer.concat(await request.toArray()).toString("utf8")
  return request.url === "/statistics" ? [200, statistics(text)] : missing
}

createServer(async (request, response) => {
  const [status, value] = await route(request)
  const body = JSON.stringify(value)
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
  response.end(body)
}).listen(Number(process.env.PORT), "127.0.0.1")
