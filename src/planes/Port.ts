/**
 * Opening a TCP port, and what a person is told when that fails. The same for every port of every plane.
 *
 * @module
 */
import type { Server } from "node:net"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export interface Door {
  /** For people: `gateway`, `control API`, `worker port`. */
  readonly what: string
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  /** What chooses another port, for people: `--port or MILLRACE_PORT`. */
  readonly flag: string
}

export class CannotListen extends Schema.TaggedError<CannotListen>()("CannotListen", {
  what: Schema.String,
  host: Schema.String,
  port: Schema.Int,
  flag: Schema.String,
  /** The system's word for it, such as `EADDRINUSE`. */
  code: Schema.String
}) {
  override get message() {
    const where = `the ${this.what} cannot listen on ${this.host}:${this.port}`
    return this.code === "EADDRINUSE"
      ? `${where}: the port is taken, perhaps by another Millrace. Stop that one, or choose another port with ${this.flag}`
      : `${where} (${this.code}): choose another port with ${this.flag}`
  }
}

/**
 * Connections that wait to be taken: all that come while the process is busy for a moment. The system has a bound of its
 * own (`net.core.somaxconn`, usually 4,096); what is beyond it comes in late, or not at all.
 */
const backlog = 4_096

/** The port that was opened. Whoever made the server closes it. */
export const listen = (server: Server, door: Door): Effect.Effect<number, CannotListen> =>
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.callback<number, CannotListen>((resume) => {
      const onError = (error: Error & { readonly code?: string }) =>
        resume(Effect.fail(new CannotListen({ ...door, code: error.code ?? error.message })))
      server.once("error", onError)
      server.listen({ host: door.host, port: door.port, backlog }, () => {
        server.off("error", onError)
        // One connection that cannot be taken (too many open files) must not end the process.
        server.on("error", (error) =>
          Effect.runForkWith(context)(Effect.logError(`the ${door.what} could not take a connection`, error))
        )
        const address = server.address()
        resume(Effect.succeed(address !== null && typeof address === "object" ? address.port : door.port))
      })
    })
  )
