/**
 * What a container of an instance may do, which is as little as a function needs:
 *
 * - another user than root, no capability, none to be gained (`no-new-privileges`), the daemon's default seccomp filter;
 * - a root file system that cannot be written, a `/tmp` of its own in memory, bounded, from which nothing is executed;
 * - no network, no file of the host, no socket of the daemon, no device; if its worker is to connect at a socket, the
 *   folder of that socket, read-only;
 * - so much CPU and memory as its spec says, no swap, so many processes and open files, output in a bounded file.
 *
 * Pure: the same spec makes the same container. The name of a container is made of cluster and instance, so that two
 * agents, or one that asks twice, make one container.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { posix } from "node:path"
import type { ContainerCreateOptions, MountSettings } from "dockerode"
import { type InstanceSpec, secretsVariable } from "../ComputeBackend.ts"

export interface Settings {
  readonly cluster: string
  /** `user:group` by number. */
  readonly user: string
  /** `none`, or a network of the daemon. */
  readonly network: string
  readonly pidsMax: number
  readonly openFilesMax: number
  /** Of `/tmp`, for specs that say nothing of disk. */
  readonly ephemeralDiskBytes: number
  /** Folder on this machine with the worker socket, and nothing else; undefined = workers connect over the network. */
  readonly workerSocketDirectory: string | undefined
}

/** Keys of the labels that make a container ours; a label of a spec has the prefix `specPrefix`. */
export const labelKeys = {
  cluster: "dev.millrace.cluster",
  instance: "dev.millrace.instance",
  version: "dev.millrace.version",
  function: "dev.millrace.function",
  /** `user:group`; for whoever looks. */
  specPrefix: "dev.millrace.label."
} as const

/** Where the worker socket's folder is inside. */
export const workerSocketMount = "/run/millrace"
/** A volume, removed with its container; the files are in a folder of it that only the instance's user may enter. */
export const secretsMount = "/run/millrace-secrets"
export const secretsFolder = "files"

/** Deterministic; ids that are no container name, or too long for one, are told apart by their hash. */
export const nameOf = (cluster: string, instanceId: string): string => {
  const hash = createHash("sha256").update(`${cluster}\0${instanceId}`).digest("hex").slice(0, 12)
  return `millrace-${instanceId.replace(/[^A-Za-z0-9_.-]/g, "_").slice(0, 60)}-${hash}`
}

export const labelsOf = (cluster: string, spec: InstanceSpec): Record<string, string> => ({
  [labelKeys.cluster]: cluster,
  [labelKeys.instance]: spec.instanceId,
  [labelKeys.version]: spec.versionId,
  [labelKeys.function]: spec.functionName,
  ...Object.fromEntries(Object.entries(spec.labels ?? {}).map(([key, value]) => [labelKeys.specPrefix + key, value]))
})

export interface Identity {
  readonly instanceId: string
  readonly versionId: string
  readonly labels: Readonly<Record<string, string>>
}

/** Whose container it is; `undefined`: not one of this cluster. */
export const identityOf = (
  cluster: string,
  labels: Readonly<Record<string, string>> | null | undefined
): Identity | undefined => {
  const instanceId = labels?.[labelKeys.instance]
  if (labels == null || labels[labelKeys.cluster] !== cluster || instanceId === undefined) return undefined
  const ours = Object.entries(labels).filter(([key]) => key.startsWith(labelKeys.specPrefix))
  return {
    instanceId,
    versionId: labels[labelKeys.version] ?? "",
    labels: Object.fromEntries(ours.map(([key, value]) => [key.slice(labelKeys.specPrefix.length), value]))
  }
}

const hasSecrets = ({ secrets = {} }: InstanceSpec): boolean => Object.keys(secrets).length > 0

const urlVariable = "MILLRACE_WORKER_URL"

/** The worker's address as it is inside, where the socket's folder has another name; `undefined`: it needs no socket. */
const socketUrlOf = (spec: InstanceSpec, { workerSocketDirectory }: Settings): string | undefined => {
  const prefix = `unix:${workerSocketDirectory}/`
  const url = spec.environment[urlVariable]
  if (workerSocketDirectory === undefined || url?.startsWith(prefix) !== true) return undefined
  return `unix:${workerSocketMount}/${url.slice(prefix.length)}`
}

const environmentOf = (spec: InstanceSpec, settings: Settings): Record<string, string> => {
  const socketUrl = socketUrlOf(spec, settings)
  return {
    HOME: "/tmp",
    TMPDIR: "/tmp",
    ...spec.environment,
    ...(hasSecrets(spec) ? { [secretsVariable]: posix.join(secretsMount, secretsFolder) } : {}),
    ...(socketUrl === undefined ? {} : { [urlVariable]: socketUrl })
  }
}

const mountsOf = (spec: InstanceSpec, settings: Settings): ReadonlyArray<MountSettings> => [
  ...(settings.workerSocketDirectory === undefined || socketUrlOf(spec, settings) === undefined
    ? []
    : [
        {
          Type: "bind" as const,
          Source: settings.workerSocketDirectory,
          Target: workerSocketMount,
          ReadOnly: true,
          BindOptions: { Propagation: "rprivate" as const }
        }
      ]),
  ...(!hasSecrets(spec)
    ? []
    : [
        {
          Type: "volume" as const,
          Source: "",
          Target: secretsMount,
          ReadOnly: false,
          VolumeOptions: { NoCopy: true, Labels: {}, DriverConfig: { Name: "local", Options: {} } }
        }
      ])
]

/** The working directory and the command are those inside the image. */
export const containerOptions = (
  spec: InstanceSpec & { readonly image: string },
  settings: Settings
): ContainerCreateOptions => {
  const [program, ...words] = spec.command
  const cmd = [...words, ...(spec.arguments ?? [])]
  const diskBytes = spec.ephemeralDiskBytes ?? settings.ephemeralDiskBytes
  return {
    name: nameOf(settings.cluster, spec.instanceId),
    Image: spec.image,
    ...(program === undefined ? {} : { Entrypoint: [program] }),
    ...(cmd.length === 0 ? {} : { Cmd: cmd }),
    ...(spec.workingDirectory === undefined ? {} : { WorkingDir: spec.workingDirectory }),
    Env: Object.entries(environmentOf(spec, settings)).map(([name, value]) => `${name}=${value}`),
    Labels: labelsOf(settings.cluster, spec),
    User: settings.user,
    StopSignal: "SIGTERM",
    AttachStdout: false,
    AttachStderr: false,
    OpenStdin: false,
    Tty: false,
    NetworkDisabled: settings.network === "none",
    HostConfig: {
      // A first process that passes signals on and reaps, as a function expects of its system.
      Init: true,
      AutoRemove: false,
      RestartPolicy: { Name: "no" },
      Privileged: false,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      ReadonlyRootfs: true,
      Tmpfs: { "/tmp": `rw,noexec,nosuid,nodev,size=${diskBytes},mode=1777` },
      Mounts: [...mountsOf(spec, settings)],
      NetworkMode: settings.network,
      IpcMode: "private",
      PidsLimit: settings.pidsMax,
      Memory: spec.memoryBytes,
      // The same as memory: no swap.
      MemorySwap: spec.memoryBytes,
      NanoCpus: spec.cpuMillis * 1_000_000,
      Ulimits: [
        { Name: "nofile", Soft: settings.openFilesMax, Hard: settings.openFilesMax },
        { Name: "core", Soft: 0, Hard: 0 }
      ],
      // When the machine itself runs out of memory, functions go before what runs them.
      OomScoreAdj: 500,
      LogConfig: { Type: "json-file", Config: { "max-size": "8m", "max-file": "2" } },
      ...(spec.gpu.count === 0
        ? {}
        : { DeviceRequests: [{ Driver: "nvidia", Count: spec.gpu.count, Capabilities: [["gpu"]] }] })
    }
  }
}
