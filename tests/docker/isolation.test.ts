/**
 * What an instance in a container can and cannot do, looked at from inside and from the daemon's side.
 *
 * @module
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import type { ComputeBackend, InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import { nameOf, workerSocketMount } from "../../src/backends/docker/ContainerOptions.ts"
import * as DockerBackend from "../../src/backends/docker/DockerBackend.ts"
import * as Tar from "../../src/backends/docker/Tar.ts"
import * as Tries from "../isolation/tries.ts"
import { eventually } from "../support/TestPlatform.ts"
import * as Daemon from "./Daemon.ts"
import { newCluster, nodeSpec, openWorld, quiet, type World } from "./dockerHarness.ts"

const why = Daemon.whyNot()
const mebibyte = 1024 * 1024

describe.skipIf(why !== undefined)(
  `docker isolation${why === undefined ? "" : ` [skipped: ${why}]`}`,
  () => {
    let world: World
    let backend: ComputeBackend["Service"]
    let socketServer: Server
    const cluster = newCluster()
    const scope = Effect.runSync(Scope.make())
    const socketFolder = mkdtempSync(join(tmpdir(), "mr-worker-"))

    beforeAll(async () => {
      // As the platform makes it: the folders above decide who comes near.
      chmodSync(socketFolder, 0o755)
      world = await openWorld()
      socketServer = createServer((socket) => socket.end("the plane"))
      await new Promise<void>((resolve) =>
        socketServer.listen({ path: join(socketFolder, "w.sock"), writableAll: true }, resolve)
      )
      const options = { cluster, socketPath: world.proxy.socketPath, workerSocketDirectory: socketFolder }
      backend = await Effect.runPromise(DockerBackend.make(options).pipe(Scope.provide(scope), Effect.provide(quiet)))
    }, 120_000)
    afterEach(() => world.clear(), 60_000)
    afterAll(async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      socketServer?.close()
      rmSync(socketFolder, { recursive: true, force: true })
      await world?.close()
    }, 60_000)

    /** Launches it and answers the first line that begins so, without that. */
    const said = async (spec: InstanceSpec, prefix: string): Promise<string> => {
      await Effect.runPromise(backend.launch(spec))
      const text = await eventually(
        `${spec.instanceId} says ${prefix}`,
        async () => {
          const lines = await Effect.runPromise(backend.logs(spec.instanceId))
          const found = lines.find((line) => line.text.startsWith(prefix))?.text
          if (found === undefined) throw new Error(`it says ${JSON.stringify(lines)}`)
          return found
        },
        30_000
      )
      return text.slice(prefix.length)
    }
    const shown = async (
      instanceId: string,
      expression: string,
      change: Partial<InstanceSpec> = {}
    ): Promise<unknown> => {
      const script = `const fs = require("node:fs"); console.log("shown " + JSON.stringify(${expression})); setInterval(() => {}, 1000)`
      return JSON.parse(await said(nodeSpec(world, instanceId, script, change), "shown "))
    }

    it("has no capability and can gain none, is filtered by seccomp, and is nobody", async () => {
      const status = String(await shown("status", `fs.readFileSync("/proc/self/status", "utf8")`))
      const fields = Object.fromEntries(status.split("\n").map((line) => line.split(":\t")))
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) expect(fields[set]).toBe("0000000000000000")
      expect([fields["NoNewPrivs"], fields["Seccomp"]]).toEqual(["1", "2"])
      expect([fields["Uid"], fields["Gid"]]).toEqual(Array(2).fill("65532\t65532\t65532\t65532"))
      expect(String(fields["Groups"]).trim()).toMatch(/^(?:65532)?$/)
    })

    it("sees a root that cannot be written, a bounded /tmp, and nothing of the host but its worker socket", async () => {
      const environment = { MILLRACE_WORKER_URL: `unix:${socketFolder}/w.sock` }
      const change = { environment, ephemeralDiskBytes: 8 * mebibyte }
      const lines = String(await shown("mounts", `fs.readFileSync("/proc/self/mounts", "utf8")`, change))
        .trim()
        .split("\n")
      const mounts = lines.map((line) => {
        const [, at = "", type = "", options = ""] = line.split(" ")
        return { at, type, options: options.split(",") }
      })
      const of = (path: string) => mounts.find(({ at }) => at === path)
      expect(of("/")?.options).toContain("ro")
      expect(of("/tmp")?.options).toEqual(expect.arrayContaining(["rw", "noexec", "nosuid", "nodev", "size=8192k"]))
      expect(of(workerSocketMount)?.options).toContain("ro")
      const ofDisk = mounts.filter(({ type }) => !/^(?:overlay|tmpfs|proc|sysfs|cgroup2?|devpts|mqueue)$/.test(type))
      const known = [
        "/",
        "/etc/resolv.conf",
        "/etc/hostname",
        "/etc/hosts",
        "/usr/sbin/docker-init",
        "/sbin/docker-init"
      ]
      expect(ofDisk.map(({ at }) => at).filter((at) => ![...known, workerSocketMount].includes(at))).toEqual([])
      for (const { at, options } of ofDisk) expect([at, options.includes("ro")]).toEqual([at, true])
    })

    it("has no folder of the host at all when its worker needs no socket", async () => {
      expect(await shown("plain", `fs.existsSync("${workerSocketMount}")`)).toBe(false)
      const { Mounts, HostConfig } = await Effect.runPromise(world.client.inspect(nameOf(cluster, "plain")))
      expect([Mounts.filter(({ Type }) => Type === "bind"), HostConfig.Binds ?? []]).toEqual([[], []])
    })

    it("has the limits that its spec asks for, in the kernel's own books", async () => {
      const limits = { cpuMillis: 500, memoryBytes: 96 * mebibyte }
      await shown("limits", "1", limits)
      const { State } = await Effect.runPromise(world.client.inspect(nameOf(cluster, "limits")))
      const book = (controller: string, ...names: ReadonlyArray<string>): string => {
        const own = readFileSync(`/proc/${State.Pid}/cgroup`, "utf8").split("\n")
        const v1 = own.find((line) => line.split(":")[1]?.split(",").includes(controller))?.split(":")[2]
        const v2 = own.find((line) => line.startsWith("0::"))?.slice(3)
        const folders = [`/sys/fs/cgroup/${controller}${v1}`, `/sys/fs/cgroup${v2}`]
        for (const folder of v1 === undefined ? folders.slice(1) : folders) {
          for (const name of names) {
            try {
              return readFileSync(join(folder, name), "utf8").trim()
            } catch {
              // The other version of cgroups has it under the other name.
            }
          }
        }
        return `no ${names} of ${own}`
      }
      expect(book("memory", "memory.limit_in_bytes", "memory.max")).toBe(String(limits.memoryBytes))
      expect(book("pids", "pids.max")).toBe("256")
      const cpu = book("cpu", "cpu.cfs_quota_us", "cpu.max").split(" ")
      expect(Number(cpu[0]) / Number(cpu[1] ?? book("cpu", "cpu.cfs_period_us"))).toBe(0.5)
    })

    it("cannot make processes without end, and its neighbours do not feel it", async () => {
      const script = `const { spawn } = require("node:child_process"); let made = 0;
      const more = () => { const child = spawn("/bin/sh", ["-c", "read x"], { stdio: ["pipe", "ignore", "ignore"] });
        child.on("error", (error) => { console.log("shown " + JSON.stringify([error.code, made])); process.exit(0) });
        child.on("spawn", () => { made++; more() }) };
      more()`
      const [code, made] = JSON.parse(await said(nodeSpec(world, "bomb", script), "shown "))
      expect(code).toBe("EAGAIN")
      expect(made).toBeLessThan(256)
      expect(await shown("neighbour", "1")).toBe(1)
    })

    it("is refused everything that is forbidden, try by try", async () => {
      const host = await Tries.openHost([world.daemon.socketPath])
      try {
        const builder = await Effect.runPromise(world.client.create({ Image: world.image, Cmd: ["node"] }))
        const entries = Tries.programs(host).map(
          ({ file, content }) => ({ kind: "text", path: `tries/${file}`, mode: 0o755, content }) as const
        )
        const archive = Tar.pack([{ kind: "folder", path: "tries", mode: 0o755 }, ...entries])
        await Effect.runPromise(world.client.putArchive(builder, archive, "/"))
        await Effect.runPromise(world.client.commit(builder, { repo: "millrace-tests", tag: "tries", labels: {} }))
        await Effect.runPromise(world.client.remove(builder))

        const neighbour = "secret-of-the-neighbour"
        await shown("other", "1", { environment: { NEIGHBOUR: neighbour } })
        const programs = Tries.hasCalls ? "/tries" : undefined
        const script = Tries.script(host, { programs, socketFolder: workerSocketMount, neighbour })
        const environment = { MILLRACE_WORKER_URL: `unix:${socketFolder}/w.sock` }
        const spec = nodeSpec({ image: "millrace-tests:tries" }, "tries", script, { environment })
        const results: Record<string, string> = JSON.parse(await said(spec, "tries "))
        expect(Tries.notRefused(results)).toEqual([])
        expect(Object.keys(results).length).toBeGreaterThanOrEqual(25)
      } finally {
        host.close()
      }
    }, 120_000)

    it("reaches its plane through the worker socket, and nothing else", async () => {
      const script = `require("node:net").connect(process.env.MILLRACE_WORKER_URL.slice(5)).on("data", (data) => console.log("shown " + data))`
      const environment = { MILLRACE_WORKER_URL: `unix:${socketFolder}/w.sock` }
      expect(await said(nodeSpec(world, "socket", script, { environment }), "shown ")).toBe("the plane")
    })
  },
  120_000
)
