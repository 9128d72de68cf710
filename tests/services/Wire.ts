/**
 * A TCP wire between a client and a server that can be cut, and that can swallow what the server says.
 *
 * @module
 */
import { connect, createServer, type Server, type Socket } from "node:net"

export class Wire {
  readonly port: number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isMute = false

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
  }

  static async to(port: number): Promise<Wire> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const address = server.address()
    const wire = new Wire(server, typeof address === "object" && address !== null ? address.port : 0)
    server.on("connection", (client) => wire.#join(client, connect(port, "127.0.0.1")))
    return wire
  }

  /** From now on nothing of what the server says arrives; what the client says does. */
  mute(): void {
    this.#isMute = true
  }

  /** Ends every connection; new ones work, and hear the server. */
  cut(): void {
    this.#isMute = false
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #join(client: Socket, server: Socket): void {
    for (const [one, other] of [
      [client, server],
      [server, client]
    ] as const) {
      this.#sockets.add(one)
      one.on("error", () => undefined)
      one.on("close", () => {
        this.#sockets.delete(one)
        other.destroy()
      })
    }
    client.on("data", (bytes) => server.write(bytes))
    server.on("data", (bytes) => {
      if (!this.#isMute) client.write(bytes)
    })
  }
}
