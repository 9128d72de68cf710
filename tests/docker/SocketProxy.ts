/**
 * Stands between a backend and the daemon: passes on, cuts, holds, or answers in the daemon's place.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface SocketProxy {
  readonly socketPath: string
  /** Ends all connections; new ones are passed on again. */
  readonly cut: () => void
  /** What new connections get from now on. `hang`: nothing; `fail`: a 500 with a body. */
  readonly behave: (how: "pass" | "hang" | "fail") => void
  readonly close: () => Promise<void>
}

const failure = `{"message":"something is wrong with the daemon, on purpose"}`
const answer = `HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: ${failure.length}\r\nConnection: close\r\n\r\n${failure}`

export const start = async (target: string): Promise<SocketProxy> => {
  const directory = mkdtempSync(join(tmpdir(), "mr-proxy-"))
  const socketPath = join(directory, "docker.sock")
  const sockets = new Set<Socket>()
  let how: "pass" | "hang" | "fail" = "pass"
  const add = (socket: Socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
  }
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    add(socket)
    if (how === "hang") return
    if (how === "fail") {
      socket.once("data", () => socket.end(answer))
      return
    }
    const upstream = connect({ path: target, allowHalfOpen: true })
    add(upstream)
    socket.pipe(upstream).pipe(socket)
    upstream.on("error", () => socket.destroy())
    upstream.on("close", () => socket.destroy())
    socket.on("close", () => upstream.destroy())
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    socketPath,
    cut,
    behave: (next) => {
      how = next
    },
    close: async () => {
      cut()
      await new Promise((resolve) => server.close(resolve))
      rmSync(directory, { recursive: true, force: true })
    }
  }
}
