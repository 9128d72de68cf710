/**
 * Listening at a socket in the file system. The folder decides who can reach it; the socket itself lets everybody in who
 * can, because a container's user is another one than ours.
 *
 * Laws: S1 what is no socket is never removed. S2 a socket at which somebody listens is never removed; one that was left
 * behind is. S3 a path that the system would cut is refused.
 *
 * @module
 */
import { lstatSync, rmSync } from "node:fs"
import { connect, type Server } from "node:net"
import { isAbsolute } from "node:path"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** The system keeps 108 bytes, the last of them zero; on macOS 104. */
export const pathBytesMax = process.platform === "darwin" ? 103 : 107

export class CannotListenAt extends Schema.TaggedError<CannotListenAt>()("CannotListenAt", {
  /** For people: `worker socket`. */
  what: Schema.String,
  path: Schema.String,
  /** Of the system, for example `EADDRINUSE`, or `too-long`, `relative`, `not-a-socket`. */
  code: Schema.String
}) {
  override get message() {
    const where = `the ${this.what} cannot listen at ${this.path}`
    switch (this.code) {
      case "too-long":
        return `${where}: a socket's path has at most ${pathBytesMax} bytes; use a state directory with a shorter path`
      case "relative":
        return `${where}: give an absolute path`
      case "not-a-socket":
        return `${where}: there is something else under that name; move it away`
      case "EADDRINUSE":
        return `${where}: another process listens there, perhaps another Millrace with the same state directory. Stop it`
      default:
        return `${where} (${this.code}): check that its folder is there and can be written`
    }
  }
}

interface Place {
  readonly what: string
  readonly path: string
}

/** Removes what an earlier process left behind; answers why the path cannot be used. */
const clear = (path: string): Promise<string | undefined> => {
  if (!isAbsolute(path)) return Promise.resolve("relative")
  if (Buffer.byteLength(path) > pathBytesMax) return Promise.resolve("too-long")
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return Promise.resolve(undefined)
  if (!found.isSocket()) return Promise.resolve("not-a-socket")
  return new Promise((resolve) => {
    const probe = connect({ path })
    probe.once("connect", () => {
      probe.destroy()
      resolve("EADDRINUSE")
    })
    probe.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "ECONNREFUSED") return resolve(error.code === "ENOENT" ? undefined : error.code)
      rmSync(path, { force: true })
      resolve(undefined)
    })
  })
}

/** Whoever made the server closes it, and with it removes the socket. */
export const listen = (server: Server, { what, path }: Place): Effect.Effect<void, CannotListenAt> =>
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.callback<void, CannotListenAt>((resume) => {
      const fail = (code: string) => resume(Effect.fail(new CannotListenAt({ what, path, code })))
      const onError = (error: NodeJS.ErrnoException) => fail(error.code ?? error.message)
      clear(path).then((code) => {
        if (code !== undefined) return fail(code)
        server.once("error", onError)
        server.listen({ path, readableAll: true, writableAll: true }, () => {
          server.off("error", onError)
          // One connection that cannot be taken (too many open files) must not end the process.
          server.on("error", (error) =>
            Effect.runForkWith(context)(Effect.logError(`the ${what} could not take a connection`, error))
          )
          resume(Effect.void)
        })
      }, onError)
    })
  )
