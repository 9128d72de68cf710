// The least that answers HTTP: what a cold start is compared with. Plain JavaScript, so that no type stripping counts.
import { createServer } from "node:http"

const server = createServer((_request, response) => response.end("ok"))
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`))
