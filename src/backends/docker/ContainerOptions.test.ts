import { describe, expect, it } from "vitest"
import type { InstanceSpec } from "../ComputeBackend.ts"
import { containerOptions, identityOf, labelsOf, nameOf, type Settings } from "./ContainerOptions.ts"

const settings: Settings = {
  cluster: "c",
  user: "65532:65532",
  network: "none",
  pidsMax: 256,
  openFilesMax: 4_096,
  ephemeralDiskBytes: 1_000,
  workerSocketDirectory: "/state/workers"
}

const spec: InstanceSpec & { readonly image: string } = {
  instanceId: "i",
  functionId: "f",
  functionName: "f",
  versionId: "v",
  command: [],
  image: "image:1",
  environment: {},
  gpu: { kind: "none", count: 0 },
  instanceType: "local",
  cpuMillis: 250,
  memoryBytes: 1_000_000,
  startDeadlineMs: 1,
  graceMs: 1
}

describe("what a container may do", () => {
  it("is little, whatever its spec says", () => {
    const { HostConfig = {}, User, NetworkDisabled } = containerOptions(spec, settings)
    expect([User, NetworkDisabled, HostConfig.NetworkMode]).toEqual(["65532:65532", true, "none"])
    expect(HostConfig).toMatchObject({
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      ReadonlyRootfs: true,
      Privileged: false,
      Mounts: [],
      Memory: 1_000_000,
      MemorySwap: 1_000_000,
      NanoCpus: 250_000_000,
      PidsLimit: 256
    })
    expect(HostConfig.DeviceRequests).toBeUndefined()
  })

  it("sees the folder of its worker socket only when its worker connects there", () => {
    const mountsWith = (url: string) => {
      const options = containerOptions({ ...spec, environment: { MILLRACE_WORKER_URL: url } }, settings)
      return [options.HostConfig?.Mounts?.map(({ Source, ReadOnly }) => [Source, ReadOnly]), options.Env?.at(-1)]
    }
    expect(mountsWith("unix:/state/workers/w.sock")).toEqual([
      [["/state/workers", true]],
      "MILLRACE_WORKER_URL=unix:/run/millrace/w.sock"
    ])
    for (const url of ["unix:/state/worker-secret", "unix:/var/run/docker.sock", "ws://127.0.0.1:1"]) {
      expect(mountsWith(url)).toEqual([[], `MILLRACE_WORKER_URL=${url}`])
    }
  })

  it("takes the image's own program when there is no command, and gives it the arguments", () => {
    const whole = containerOptions({ ...spec, command: ["a", "b"], arguments: ["c"] }, settings)
    expect([whole.Entrypoint, whole.Cmd]).toEqual([["a"], ["b", "c"]])
    const own = containerOptions({ ...spec, arguments: ["c"] }, settings)
    expect([own.Entrypoint, own.Cmd]).toEqual([undefined, ["c"]])
  })

  it("asks for GPUs as device requests", () => {
    const { HostConfig } = containerOptions({ ...spec, gpu: { kind: "H100", count: 2 } }, settings)
    expect(HostConfig?.DeviceRequests).toEqual([{ Driver: "nvidia", Count: 2, Capabilities: [["gpu"]] }])
  })
})

describe("whose container it is", () => {
  it("is told by its labels, with those of its spec", () => {
    const labels = labelsOf("c", { ...spec, labels: { "dev.millrace.cluster": "mine", two: "2" } })
    expect(identityOf("c", labels)).toEqual({
      instanceId: "i",
      versionId: "v",
      labels: { "dev.millrace.cluster": "mine", two: "2" }
    })
    expect([identityOf("other", labels), identityOf("c", {}), identityOf("c", null)]).toEqual(Array(3).fill(undefined))
  })

  it("has one name for one instance of one cluster, fit for the daemon", () => {
    const names = [
      nameOf("c", "a"),
      nameOf("d", "a"),
      nameOf("c", "a/b"),
      nameOf("c", "a_b"),
      nameOf("c", "x".repeat(500))
    ]
    expect(new Set(names).size).toBe(5)
    for (const name of names) expect(name).toMatch(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$/)
    expect(nameOf("c", "a")).toBe(nameOf("c", "a"))
  })
})
