import { describe, expect, it } from "vitest"
import { cluster, request, spec } from "../../../tests/backends/kubernetes/objects.ts"
import type { InstanceSpec } from "../ComputeBackend.ts"
import * as Names from "./Names.ts"
import { networkPolicyOf, type PodOptions, podOf, secretOf } from "./PodOf.ts"

const secrets = { "key.pem": "s3cret-content" }

const made = (change: Partial<InstanceSpec> = {}, options: PodOptions = {}) =>
  podOf({
    cluster,
    request: request({ spec: { secrets, ...change } }),
    gpuProducts: ["NVIDIA-H100-80GB-HBM3"],
    options
  })

const main = (one: ReturnType<typeof made>) => one.spec?.containers[0]

describe("the Pod of a request", () => {
  it("P1: values of the environment and secrets stand in the Secret, and nowhere in the Pod", () => {
    const text = JSON.stringify(made())
    expect(text).not.toContain("token-value")
    expect(text).not.toContain("blue")
    expect(text).not.toContain("s3cret-content")
    const { data } = secretOf(cluster, request(), spec({ secrets }))
    expect(Buffer.from(data?.["environment.COLOUR"] ?? "", "base64").toString()).toBe("blue")
    expect(Buffer.from(data?.["file.key.pem"] ?? "", "base64").toString()).toBe("s3cret-content")
  })

  it("P1: every variable is taken out of the Secret of this life of the request", () => {
    const names = main(made())?.env?.map((one) => [one.name, one.valueFrom?.secretKeyRef?.key])
    expect(names).toEqual([
      ["COLOUR", "environment.COLOUR"],
      ["MILLRACE_WORKER_TOKEN", "environment.MILLRACE_WORKER_TOKEN"],
      ["MILLRACE_SECRETS_DIRECTORY", undefined]
    ])
    const { metadata } = secretOf(cluster, request(), spec())
    expect(main(made())?.env?.[0]?.valueFrom?.secretKeyRef?.name).toBe(metadata?.name)
    expect(metadata?.ownerReferences?.[0]?.uid).toBe(request().uid)
  })

  it("P2: nothing is privileged, nobody is root, and no token of the cluster is inside", () => {
    const one = made({ health: { port: 80, path: "/" } }, { workerImage: "millrace:1", init: { image: "fetch:1" } })
    const all = [...(one.spec?.initContainers ?? []), ...(one.spec?.containers ?? [])]
    expect(all.map((each) => each.name)).toEqual(["init", "utils", "inference"])
    for (const { securityContext } of all) {
      expect(securityContext).toMatchObject({
        allowPrivilegeEscalation: false,
        privileged: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] }
      })
    }
    expect(one.spec?.automountServiceAccountToken).toBe(false)
    expect(one.spec?.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 65_532 })
    expect(one.spec?.volumes?.some((volume) => volume.hostPath !== undefined)).toBe(false)
    expect(one.spec?.hostNetwork).toBeUndefined()
  })

  it("files of a function are unpacked before it starts, by its own image, which sees no secret for that", () => {
    const one = made({ bundle: "abc", image: "node:24", secrets } as Partial<InstanceSpec>)
    const [unpack] = one.spec?.initContainers ?? []
    expect([unpack?.name, unpack?.image, unpack?.env]).toEqual(["unpack", "node:24", undefined])
    expect(unpack?.volumeMounts?.map((mount) => mount.mountPath)).toEqual(["/app", "/var/function-bundle"])
    expect(main(one)?.volumeMounts).toContainEqual({ name: "function", mountPath: "/app", readOnly: true })
    const volume = one.spec?.volumes?.find((each) => each.name === "function-bundle")
    expect(volume?.configMap?.name).toBe(Names.bundleName(cluster, "abc"))
    expect(made().spec?.initContainers).toEqual([])
  })

  it("P3: a server without the worker protocol has a sidecar that alone gets what speaks to the planes", () => {
    const one = made({ health: { port: 8_000, path: "/health" } }, { workerImage: "millrace:1" })
    const sidecar = one.spec?.initContainers?.[0]
    expect(one.spec?.restartPolicy).toBe("Never")
    expect(sidecar?.restartPolicy).toBe("Always")
    expect(sidecar?.command).toEqual([
      "millrace",
      "worker",
      "wrap",
      "--forward",
      "http://127.0.0.1:8000",
      "--health",
      "/health"
    ])
    expect(sidecar?.env?.map((each) => each.name)).toEqual(["MILLRACE_WORKER_TOKEN", "MILLRACE_SECRETS_DIRECTORY"])
    expect(main(one)?.env?.map((each) => each.name)).toEqual(["COLOUR", "MILLRACE_SECRETS_DIRECTORY"])
    expect(main(one)?.readinessProbe?.httpGet).toEqual({ port: 8_000, path: "/health" })
  })

  it("P2: the worker of a Helm function calls its Service, and has none of its GPUs, files or memory", () => {
    const chart = { manifests: "", serviceName: "front", servicePort: 80, healthPath: "/ready" }
    const one = made({ chart, image: "millrace:1" })
    const { name, uid } = request({ spec: { chart } })
    expect(main(one)?.command?.slice(3)).toEqual([
      ...["--forward", `http://front.${Names.chartName(name, uid)}.svc:80`],
      ...["--health", "/ready"]
    ])
    expect(main(one)?.resources?.limits).toEqual({ memory: "512Mi" })
    expect(one.spec?.affinity).toBeUndefined()
    expect(one.spec?.initContainers).toEqual([])
    expect(main(one)?.securityContext).toMatchObject({ readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } })
  })

  it("asks for its GPUs, on nodes of that product and of the given labels, and tolerates their taint", () => {
    const one = made({}, { nodeSelector: { pool: "a" }, gpuResource: "nvidia.com/gpu" })
    expect(main(one)?.resources?.limits).toEqual({ cpu: "4000m", memory: "8589934592", "nvidia.com/gpu": "2" })
    expect(one.spec?.nodeSelector).toEqual({ pool: "a" })
    expect(JSON.stringify(one.spec?.affinity)).toContain("NVIDIA-H100-80GB-HBM3")
    expect(one.spec?.tolerations).toEqual([{ key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" }])
    const without = made({ gpu: { kind: "none", count: 0 } })
    expect(without.spec?.affinity).toBeUndefined()
    expect(without.spec?.tolerations).toEqual([])
  })

  it("says its grace in whole seconds, its shared memory and its disk in bytes", () => {
    const one = made({ ephemeralDiskBytes: 1_000_000 })
    expect(one.spec?.terminationGracePeriodSeconds).toBe(3)
    expect(one.spec?.volumes?.find((volume) => volume.name === "dshm")?.emptyDir).toEqual({
      medium: "Memory",
      sizeLimit: "4294967296"
    })
    expect(main(one)?.resources?.limits?.["ephemeral-storage"]).toBe("1000000")
  })

  it("nobody may call an instance, and it may not call the metadata server of its cloud", () => {
    const { spec: policy } = networkPolicyOf(cluster, "name")
    expect(policy?.ingress).toEqual([])
    expect(policy?.egress?.[0]?.to?.[0]?.ipBlock?.except).toEqual(["169.254.0.0/16"])
  })
})
