import { spawnSync } from "node:child_process"
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { connect, createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as SocketFile from "./SocketFile.ts"

let directory: string
let at: string
const servers: Array<Server> = []
const closeAll = async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve))
}
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "millrace-socket-"))
  at = join(directory, "a.sock")
})
afterEach(async () => {
  await closeAll()
  rmSync(directory, { recursive: true, force: true })
})

const open = async (path: string) => {
  const server = createServer((socket) => socket.on("error", () => {}).end("hello"))
  servers.push(server)
  return Effect.runPromise(SocketFile.listen(server, { what: "worker socket", path }).pipe(Effect.flip, Effect.exit))
}

const failure = async (path: string): Promise<SocketFile.CannotListenAt> => {
  const exit = await open(path)
  if (Exit.isFailure(exit)) throw new Error(`it listens at ${path}`)
  return exit.value
}

const greeting = (path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = ""
    connect({ path })
      .on("data", (chunk) => (text += chunk))
      .on("end", () => resolve(text))
      .on("error", reject)
  })

/** What a process leaves behind that had no time to tidy up. */
const leave = (path: string) => {
  const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`
  spawnSync(process.execPath, ["-e", script])
  expect(lstatSync(path).isSocket()).toBe(true)
}

describe("listening at a socket in the file system", () => {
  it("anyone who reaches the folder may connect, and nothing stays when the server is closed", async () => {
    expect(Exit.isFailure(await open(at))).toBe(true)
    expect(statSync(at).mode & 0o777).toBe(0o666)
    expect(await greeting(at)).toBe("hello")
    await closeAll()
    expect(existsSync(at)).toBe(false)
  })

  it("S1 what is no socket is not removed", async () => {
    writeFileSync(at, "somebody's file")
    expect(await failure(at)).toMatchObject({ _tag: "CannotListenAt", code: "not-a-socket" })
    expect(readFileSync(at, "utf8")).toBe("somebody's file")
  })

  it("S2 a socket that was left behind is taken over, and one at which somebody listens is not", async () => {
    leave(at)
    expect(Exit.isFailure(await open(at))).toBe(true)
    const refused = await failure(at)
    expect(refused.code).toBe("EADDRINUSE")
    expect(refused.message).toContain(at)
    expect(await greeting(at)).toBe("hello")
  })

  it("S3 a path that the system would cut, a relative one and a folder that is not there are refused", async () => {
    expect((await failure(`/${"x".repeat(SocketFile.pathBytesMax)}`)).message).toContain("shorter path")
    expect((await failure("a.sock")).code).toBe("relative")
    expect((await failure(join(directory, "none/a.sock"))).code).toMatch(/ENOENT|EACCES/)
  })
})
