// Durable in the plainest way: each request is one insert and one commit before its 202.
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"

const database = new DatabaseSync(join(process.argv[2], "one-by-one.sqlite"))
database.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
// The table that Millrace's own log is in.
database.exec(
  "CREATE TABLE log_batch (shard INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, bytes BLOB NOT NULL, " +
    "PRIMARY KEY (shard, first)) STRICT"
)
const insert = database.prepare("INSERT INTO log_batch VALUES (0, ?, 1, ?)")
let position = 0

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  const parts = []
  request.on("data", (part) => parts.push(part))
  request.on("end", () => {
    const body = parts.length === 1 ? parts[0] : Buffer.concat(parts)
    // A statement outside a transaction is a transaction of its own.
    insert.run(position++, body)
    const answer = Buffer.from(JSON.stringify({ requestId: randomUUID(), status: "in-progress" }))
    response.writeHead(202, { "content-type": "application/json", "content-length": answer.length })
    response.end(answer)
  })
})
server.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }))
process.on("disconnect", () => process.exit(0))
