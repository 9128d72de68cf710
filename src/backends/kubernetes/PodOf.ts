/**
 * From a request to the objects that carry it out: its Pod, its Secret, and the network policy of all. Pure.
 *
 * P1 Nothing of the environment's values and of the secrets stands in the Pod: they are in the Secret, which only this
 * life of the instance uses. P2 Hardened unless the options say otherwise: no privileges, no capabilities, no service
 * account token, a user that is not root, a read-only root. P3 Kubernetes restarts nothing of it but the sidecar.
 *
 * @module
 */
import type { V1Container, V1NetworkPolicy, V1Pod, V1Secret, V1Volume } from "@kubernetes/client-node"
import type * as ChartRules from "../../core/chart/ChartRules.ts"
import { type InstanceSpec, secretsVariable } from "../ComputeBackend.ts"
import * as FunctionBundle from "./FunctionBundle.ts"
import type { InstanceRequest } from "./InstanceRequest.ts"
import * as Names from "./Names.ts"
import { productLabel } from "./Nodes.ts"

export interface Toleration {
  readonly key?: string
  readonly operator?: "Exists" | "Equal"
  readonly value?: string
  readonly effect?: "NoSchedule" | "PreferNoSchedule" | "NoExecute"
}

export interface PodOptions {
  /** Labels of the nodes that may be used. Default: all nodes. */
  readonly nodeSelector?: Readonly<Record<string, string>>
  /** Beside the one for `nvidia.com/gpu`. */
  readonly tolerations?: ReadonlyArray<Toleration>
  /** Names of Secrets of type `kubernetes.io/dockerconfigjson` in the same namespace. */
  readonly imagePullSecrets?: ReadonlyArray<string>
  /** Image with the `millrace` command, for servers that speak no worker protocol. Absent = those are refused. */
  readonly workerImage?: string
  /**
   * Image with Node 22.18 or later, for functions without an image whose folder is on this machine: what they need is sent
   * with them, up to 1 MiB compressed. Absent = those are refused.
   */
  readonly functionImage?: string
  /** Runs before everything else, with the whole environment, and can fill `/config/models`. Absent = none. */
  readonly init?: { readonly image: string; readonly command?: ReadonlyArray<string> }
  /** User and group id of all containers; `image` = as the image says, root too. Default: 65532. */
  readonly runAsUser?: number | "image"
  /** Default: true. `/tmp`, `/dev/shm`, `/var/inf` and `/config/models` can be written in any case. */
  readonly readOnlyRoot?: boolean
  readonly runtimeClassName?: string
  readonly priorityClassName?: string
  /** What nodes call a GPU. Default: `nvidia.com/gpu`. */
  readonly gpuResource?: string
  /** At most this much of its memory can an instance use as `/dev/shm`, bytes. Default: half of its memory. */
  readonly sharedMemoryBytes?: number
}

export const gpuResourceDefault = "nvidia.com/gpu"
type Chart = NonNullable<InstanceRequest["spec"]["chart"]>

const userDefault = 65_532
export const mainContainer = "inference"
export const sidecarContainer = "utils"
const secretsDirectory = "/var/secrets"
const ownEnvironment = /^MILLRACE_/

const secondsOf = (ms: number): number => Math.max(1, Math.ceil(ms / 1_000))

/** Seconds of grace of a deletion. 0 would mean: forget it, and believe that it is gone. */
export const graceSecondsOf = secondsOf

const environmentKey = (name: string) => `environment.${name}`
const fileKey = (name: string) => `file.${name}`

/** Names that can be keys of a Secret. */
export const isEnvironmentName = (name: string): boolean => /^[A-Za-z_.-][A-Za-z0-9_.-]{0,199}$/.test(name)

const ownerOf = (request: Pick<InstanceRequest, "name" | "uid">) => [
  {
    apiVersion: Names.apiVersion,
    kind: "ICMSRequest",
    name: request.name,
    uid: request.uid,
    controller: true,
    blockOwnerDeletion: false
  }
]

export const secretOf = (
  cluster: string,
  request: Pick<InstanceRequest, "name" | "uid">,
  { environment, secrets = {} }: Pick<InstanceSpec, "environment" | "secrets">
): V1Secret => {
  const encode = (entries: Readonly<Record<string, string>>, key: (name: string) => string) =>
    Object.entries(entries).map(([name, value]) => [key(name), Buffer.from(value, "utf8").toString("base64")] as const)
  return {
    apiVersion: "v1",
    kind: "Secret",
    type: "Opaque",
    metadata: {
      name: Names.secretName(request.name, request.uid),
      labels: { ...Names.labelsOfCluster(cluster) },
      ownerReferences: ownerOf(request)
    },
    data: Object.fromEntries([...encode(environment, environmentKey), ...encode(secrets, fileKey)])
  }
}

export interface Translation {
  readonly cluster: string
  readonly request: InstanceRequest
  /** Values of the nodes' product label that are of the wanted kind. */
  readonly gpuProducts: ReadonlyArray<string>
  readonly options: PodOptions
}

export const podOf = ({ cluster, request, gpuProducts, options }: Translation): V1Pod => {
  const { spec } = request
  const wrapped = spec.health !== undefined
  const init = [
    ...(options.init === undefined ? [] : [initOf(request, options, options.init)]),
    ...(spec.bundle === undefined ? [] : [unpackOf(request, options)])
  ]
  const user = options.runAsUser ?? userDefault
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: Names.podName(request.name),
      labels: {
        ...Names.labelsOfCluster(cluster),
        [Names.instanceLabel]: Names.labelOf(spec.instanceId),
        [Names.functionLabel]: Names.labelOf(spec.functionId),
        [Names.versionLabel]: Names.labelOf(spec.versionId)
      },
      annotations: { [Names.instanceAnnotation]: spec.instanceId },
      ownerReferences: ownerOf(request)
    },
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: secondsOf(spec.graceMs),
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      initContainers: [...init, ...(wrapped ? [sidecarOf(request, options)] : [])],
      containers: [mainOf(request, options)],
      volumes: [...volumesOf(request, options), ...bundleVolumes(cluster, spec.bundle)],
      ...placeOf(request, gpuProducts, options),
      securityContext: {
        ...(user === "image" ? {} : { runAsNonRoot: true, runAsUser: user, runAsGroup: user, fsGroup: user }),
        seccompProfile: { type: "RuntimeDefault" }
      },
      ...(options.imagePullSecrets === undefined
        ? {}
        : { imagePullSecrets: options.imagePullSecrets.map((name) => ({ name })) }),
      ...(options.runtimeClassName === undefined ? {} : { runtimeClassName: options.runtimeClassName }),
      ...(options.priorityClassName === undefined ? {} : { priorityClassName: options.priorityClassName })
    }
  }
}

const placeOf = ({ spec }: InstanceRequest, gpuProducts: ReadonlyArray<string>, options: PodOptions) => {
  const product = { key: productLabel, operator: "In", values: [...gpuProducts] }
  // GPUs of a Helm function are those of the chart's own pods.
  const hasNoGpu = spec.gpu.count === 0 || spec.chart !== undefined
  return {
    nodeSelector: { ...options.nodeSelector },
    ...(hasNoGpu
      ? {}
      : {
          affinity: {
            nodeAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [product] }] }
            }
          }
        }),
    tolerations: [...(options.tolerations ?? []), ...(hasNoGpu ? [] : [gpuToleration])]
  }
}

const gpuToleration = { key: gpuResourceDefault, operator: "Exists", effect: "NoSchedule" }

/** The same for the pods of a chart, which stand in objects of somebody else's making. */
export const chartPlaceOf = (
  gpuProducts: ReadonlyArray<string>,
  options: Pick<PodOptions, "nodeSelector" | "tolerations" | "imagePullSecrets">
): ChartRules.Place => ({
  nodeSelector: { ...options.nodeSelector },
  nodeTerms:
    gpuProducts.length === 0
      ? []
      : [{ matchExpressions: [{ key: productLabel, operator: "In", values: gpuProducts }] }],
  tolerations: [...(options.tolerations ?? []), ...(gpuProducts.length === 0 ? [] : [gpuToleration])],
  pullSecrets: options.imagePullSecrets ?? []
})

const hardened = (options: PodOptions) => ({
  allowPrivilegeEscalation: false,
  privileged: false,
  readOnlyRootFilesystem: options.readOnlyRoot ?? true,
  capabilities: { drop: ["ALL"] }
})

/** Each value out of the Secret; `select` by name. */
const environmentOf = ({ name, uid, spec }: InstanceRequest, select: (name: string) => boolean) => {
  const own = spec.environmentNames.filter(select).map((variable) => ({
    name: variable,
    valueFrom: { secretKeyRef: { name: Names.secretName(name, uid), key: environmentKey(variable) } }
  }))
  const directory = spec.secretNames.length === 0 ? [] : [{ name: secretsVariable, value: secretsDirectory }]
  return [...own, ...directory]
}

const mountsOf = ({ spec }: InstanceRequest) => [
  { name: "temporary", mountPath: "/tmp" },
  { name: "dshm", mountPath: "/dev/shm" },
  { name: "inference-data", mountPath: "/var/inf" },
  { name: "model-data", mountPath: "/config/models" },
  ...(spec.secretNames.length === 0 ? [] : [{ name: "secret-data", mountPath: secretsDirectory, readOnly: true }])
]

const volumesOf = ({ name, uid, spec }: InstanceRequest, options: PodOptions): Array<V1Volume> => {
  const disk = spec.ephemeralDiskBytes === undefined ? {} : { sizeLimit: String(spec.ephemeralDiskBytes) }
  const shared = options.sharedMemoryBytes ?? Math.floor(spec.memoryBytes / 2)
  const items = spec.secretNames.map((file) => ({ key: fileKey(file), path: file }))
  // Of the group, because files of a Secret belong to root and the instance is not root.
  const secret = { secretName: Names.secretName(name, uid), defaultMode: 0o440, items }
  return [
    { name: "temporary", emptyDir: disk },
    { name: "dshm", emptyDir: { medium: "Memory", sizeLimit: String(shared) } },
    { name: "inference-data", emptyDir: disk },
    { name: "model-data", emptyDir: disk },
    ...(spec.secretNames.length === 0 ? [] : [{ name: "secret-data", secret }])
  ]
}

/** Stands alone, outside the chart's namespace: nothing of the chart can read its token. */
const workerOf = (request: InstanceRequest, chart: Chart, options: PodOptions): V1Container => {
  const { serviceName, servicePort, healthPath } = chart
  const forward = `http://${serviceName}.${Names.chartName(request.name, request.uid)}.svc:${servicePort}`
  return {
    name: mainContainer,
    image: request.spec.image,
    command: wrapping(forward, healthPath),
    env: environmentOf(request, () => true),
    resources: workerResources,
    volumeMounts: [{ name: "temporary", mountPath: "/tmp" }],
    securityContext: hardened(options),
    terminationMessagePolicy: "FallbackToLogsOnError"
  }
}

const mainOf = (request: InstanceRequest, options: PodOptions): V1Container => {
  const { spec } = request
  if (spec.chart !== undefined) return workerOf(request, spec.chart, options)
  const gpu = spec.gpu.count === 0 ? {} : { [options.gpuResource ?? gpuResourceDefault]: String(spec.gpu.count) }
  const disk = spec.ephemeralDiskBytes === undefined ? {} : { "ephemeral-storage": String(spec.ephemeralDiskBytes) }
  const amounts = { cpu: `${spec.cpuMillis}m`, memory: String(spec.memoryBytes), ...disk, ...gpu }
  return {
    name: mainContainer,
    image: spec.image,
    ...(spec.command.length === 0 ? {} : { command: [...spec.command] }),
    ...(spec.arguments.length === 0 ? {} : { args: [...spec.arguments] }),
    ...(spec.workingDirectory === undefined ? {} : { workingDir: spec.workingDirectory }),
    // What speaks to the planes is the sidecar, when there is one.
    env: environmentOf(request, (name) => spec.health === undefined || !ownEnvironment.test(name)),
    resources: { requests: amounts, limits: amounts },
    volumeMounts: [
      ...mountsOf(request),
      ...(spec.bundle === undefined ? [] : [{ name: "function", mountPath: FunctionBundle.root, readOnly: true }])
    ],
    securityContext: hardened(options),
    // Its last words, also when no node can be asked for its logs any more.
    terminationMessagePolicy: "FallbackToLogsOnError",
    ...(spec.health === undefined ? {} : probesOf(spec.health, spec.startDeadlineMs))
  }
}

const probesOf = ({ port, path }: { readonly port: number; readonly path: string }, startDeadlineMs: number) => ({
  ports: [{ containerPort: port }],
  startupProbe: { httpGet: { port, path }, periodSeconds: 1, failureThreshold: secondsOf(startDeadlineMs) },
  readinessProbe: { httpGet: { port, path }, periodSeconds: 10, failureThreshold: 2, timeoutSeconds: 6 }
})

const wrapping = (forward: string, health: string) => [
  ...["millrace", "worker", "wrap", "--forward", forward],
  ...["--health", health]
]
const workerResources = { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "512Mi" } }

/** A native sidecar: starts before the server, ends after it, is restarted. */
const sidecarOf = (request: InstanceRequest, options: PodOptions): V1Container => {
  const { port = 0, path = "/" } = request.spec.health ?? {}
  const forward = `http://127.0.0.1:${port}`
  return {
    name: sidecarContainer,
    image: options.workerImage ?? "",
    command: wrapping(forward, path),
    restartPolicy: "Always",
    env: environmentOf(request, (name) => ownEnvironment.test(name)),
    resources: workerResources,
    volumeMounts: [{ name: "temporary", mountPath: "/tmp" }],
    securityContext: hardened(options)
  }
}

const initOf = (request: InstanceRequest, options: PodOptions, init: NonNullable<PodOptions["init"]>): V1Container => ({
  name: "init",
  image: init.image,
  ...(init.command === undefined ? {} : { command: [...init.command] }),
  env: environmentOf(request, () => true),
  resources: { requests: { cpu: "100m", memory: "128Mi" } },
  volumeMounts: mountsOf(request),
  securityContext: hardened(options)
})

const bundleDirectory = "/var/function-bundle"

const bundleVolumes = (cluster: string, digest: string | undefined): Array<V1Volume> =>
  digest === undefined
    ? []
    : [
        { name: "function", emptyDir: {} },
        { name: "function-bundle", configMap: { name: Names.bundleName(cluster, digest) } }
      ]

/** Puts the files of a function where it finds them; sees nothing of its environment. */
const unpackOf = ({ spec }: InstanceRequest, options: PodOptions): V1Container => ({
  name: "unpack",
  image: spec.image,
  command: ["node", "-e", FunctionBundle.unpack, `${bundleDirectory}/${FunctionBundle.key}`, FunctionBundle.root],
  resources: { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "512Mi" } },
  volumeMounts: [
    { name: "function", mountPath: FunctionBundle.root },
    { name: "function-bundle", mountPath: bundleDirectory, readOnly: true }
  ],
  securityContext: hardened(options)
})

/** Nobody calls an instance; an instance calls out, but not the metadata server of the cloud that it stands in. */
export const networkPolicyOf = (cluster: string, name: string): V1NetworkPolicy => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name, labels: { ...Names.labelsOfCluster(cluster) } },
  spec: {
    podSelector: { matchLabels: { ...Names.labelsOfCluster(cluster) } },
    policyTypes: ["Ingress", "Egress"],
    ingress: [],
    egress: [
      {
        to: [
          { ipBlock: { cidr: "0.0.0.0/0", except: ["169.254.0.0/16"] } },
          { ipBlock: { cidr: "::/0", except: ["fe80::/10"] } }
        ]
      }
    ]
  }
})
