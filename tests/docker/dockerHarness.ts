/**
 * The Docker backend as the laws want it, and what its own tests need: one daemon and one image per test file.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type { InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import * as BaseImage from "../../src/backends/docker/BaseImage.ts"
import { labelKeys } from "../../src/backends/docker/ContainerOptions.ts"
import * as DockerBackend from "../../src/backends/docker/DockerBackend.ts"
import * as DockerClient from "../../src/backends/docker/DockerClient.ts"
import { type Harness, type Program, scriptOf } from "../../src/backends/laws/index.ts"
import * as Daemon from "./Daemon.ts"
import * as SocketProxy from "./SocketProxy.ts"

export interface World {
  readonly daemon: Daemon.Daemon
  readonly proxy: SocketProxy.SocketProxy
  readonly client: DockerClient.DockerClient
  readonly image: string
  /** Removes every container that is or was ours. */
  readonly clear: () => Promise<void>
  readonly close: () => Promise<void>
}

export const quiet = Logger.layer([])

export const openWorld = async (): Promise<World> => {
  const daemon = await Daemon.start()
  const proxy = await SocketProxy.start(daemon.socketPath)
  const client = DockerClient.make({ socketPath: daemon.socketPath, callMs: 60_000 })
  const close = async () => {
    await proxy.close()
    await daemon.stop()
  }
  try {
    const image = await Effect.runPromise(BaseImage.ensure(client))
    const clear = async () => {
      const left = await Effect.runPromise(client.list([labelKeys.cluster]))
      for (const { Id } of left) await Effect.runPromise(client.remove(Id))
    }
    return { daemon, proxy, client, image, clear, close }
  } catch (error) {
    await close()
    throw error
  }
}

const mebibyte = 1024 * 1024

export const nodeSpec = (
  { image }: Pick<World, "image">,
  instanceId: string,
  script: string,
  change: Partial<InstanceSpec> = {}
): InstanceSpec => ({
  instanceId,
  functionId: "f",
  functionName: "f",
  versionId: "v",
  command: ["node", "-e", script],
  image,
  environment: {},
  gpu: { kind: "none", count: 0 },
  instanceType: "local",
  cpuMillis: 1_000,
  memoryBytes: 256 * mebibyte,
  startDeadlineMs: 30_000,
  graceMs: 1_000,
  ...change
})

/** In containers of this kernel; their first process, which the daemon adds, is not the instance's own. */
const countProcesses = (text: string): number =>
  readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false
    try {
      if (readFileSync(`/proc/${name}/comm`, "utf8").trim() === "docker-init") return false
      return readFileSync(`/proc/${name}/environ`, "latin1").includes(text)
    } catch {
      return false
    }
  }).length

let clusters = 0
export const newCluster = () => `test-${process.pid}-${++clusters}`

const specOf = (
  world: World,
  instanceId: string,
  program: Program,
  change: Partial<InstanceSpec> = {}
): InstanceSpec => {
  if (program.kind === "cannot-start")
    return nodeSpec({ image: "millrace-tests/there-is-none:1" }, instanceId, "", change)
  if (program.kind === "never-starts") {
    const { image: _, ...imageless } = nodeSpec(world, instanceId, "", change)
    return imageless
  }
  const memory = program.kind === "eats-memory" ? { memoryBytes: 64 * mebibyte } : {}
  return nodeSpec(world, instanceId, scriptOf(program), { ...memory, ...change })
}

const foreign = ({ client, image }: World) =>
  Effect.acquireRelease(
    Effect.orDie(
      Effect.tap(
        client.create({ name: "somebody-elses", Image: image, Cmd: ["node", "-e", "setInterval(() => {}, 1000)"] }),
        client.start
      )
    ),
    (id) => Effect.orDie(client.remove(id))
  ).pipe(
    Effect.map((id) => ({
      instanceId: "somebody-elses",
      isRunning: Effect.orDie(Effect.map(client.inspect(id), ({ State }) => State.Running))
    }))
  )

export const harnessOf = (world: () => World): Harness => ({
  name: "docker",
  open: ({ places, cluster = newCluster() }) =>
    Effect.suspend(() =>
      DockerBackend.make({
        cluster,
        instancesMax: places,
        socketPath: world().proxy.socketPath,
        // An image whose making never ends.
        pack: () => Effect.never
      })
    ).pipe(Effect.provide(quiet)),
  spec: (instanceId, program, change) => specOf(world(), instanceId, program, change),
  environmentAdded: ["PATH", "HOME", "TMPDIR", "HOSTNAME"],
  factDeadlineMs: 60_000,
  countProcesses,
  foreign: Effect.suspend(() => foreign(world())),
  breakWatch: () => Effect.sync(() => world().proxy.cut())
})
