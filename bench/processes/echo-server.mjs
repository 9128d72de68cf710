// A bare server that answers with the body that it got: what both sides of a comparison do at the least.
import { createServer } from "node:http"

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  const parts = []
  request.on("data", (part) => parts.push(part))
  request.on("end", () => {
    const body = parts.length === 1 ? parts[0] : Buffer.concat(parts)
    response.writeHead(200, { "content-type": "application/octet-stream", "content-length": body.length })
    response.end(body)
  })
})
server.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }))
process.on("disconnect", () => process.exit(0))
