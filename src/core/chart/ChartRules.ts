/**
 * What a rendered chart may hold, and what is taken out of it before it is applied. Pure. The rules are those that NVCF's
 * render and validate service has; where it only reports a violation, this refuses it.
 *
 * Laws: H1 a kind that is neither in the list nor allowed by name is refused, under either policy. H2 a refusal names the
 * object, the field and what would be right. H3 what was made safe breaks no rule that making safe is for, and making it
 * safe twice changes nothing.
 *
 * @module
 */
import * as Fields from "./Fields.ts"

export interface ExtraKind {
  readonly group: string
  readonly version: string
  readonly kind: string
}

export interface Policy {
  /** `Unrestricted`: pods may do what the cluster lets them; kinds and sizes are checked all the same. */
  readonly name: "Default" | "Unrestricted"
  readonly extraKubernetesTypes: ReadonlyArray<ExtraKind>
}

export interface Entry {
  readonly serviceName: string
  readonly servicePort: number
}

export interface ChartObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly [field: string]: unknown }
  readonly [field: string]: unknown
}

export const objectsMax = 300
/** A megabyte and a little, for what holds one. */
export const objectBytesMax = 1024 * 1024 + 1024

const utf8 = new TextEncoder()

/** Plural names, by API version and kind. */
export const kinds: Readonly<Record<string, string>> = {
  "v1 Pod": "pods",
  "v1 Service": "services",
  "v1 ConfigMap": "configmaps",
  "v1 Secret": "secrets",
  "v1 PersistentVolumeClaim": "persistentvolumeclaims",
  "v1 ServiceAccount": "serviceaccounts",
  "apps/v1 Deployment": "deployments",
  "apps/v1 ReplicaSet": "replicasets",
  "apps/v1 StatefulSet": "statefulsets",
  "batch/v1 Job": "jobs",
  "batch/v1 CronJob": "cronjobs",
  "rbac.authorization.k8s.io/v1 Role": "roles",
  "rbac.authorization.k8s.io/v1 RoleBinding": "rolebindings"
}

const kindOf = ({ apiVersion, kind }: ChartObject): string => `${apiVersion} ${kind}`
const titleOf = ({ kind, metadata }: ChartObject): string => `${kind} ${metadata.name}`
const isExtra = ({ apiVersion, kind }: ChartObject, { extraKubernetesTypes }: Policy): boolean =>
  extraKubernetesTypes.some(
    (extra) =>
      extra.kind === kind && (extra.group === "" ? extra.version : `${extra.group}/${extra.version}`) === apiVersion
  )

/** The objects, or why not. `documents`: as parsed; empty ones are left out. */
export const read = (documents: ReadonlyArray<unknown>): ReadonlyArray<ChartObject> | string => {
  const given = documents.filter((one) => one !== null && one !== undefined)
  if (given.length > objectsMax) return `${given.length} objects, and ${objectsMax} are the most: split the chart`
  const objects: Array<ChartObject> = []
  for (const [index, document] of given.entries()) {
    const apiVersion = Fields.text(document, "apiVersion")
    const kind = Fields.text(document, "kind")
    const name = Fields.text(document, "metadata", "name")
    const which = `object ${index + 1}${kind === undefined ? "" : ` (${kind})`}`
    if (apiVersion === undefined || kind === undefined) return `${which} has no apiVersion or no kind`
    if (name === undefined || name === "") return `${which} has no metadata.name: give it one, names are not made here`
    const bytes = utf8.encode(JSON.stringify(document)).byteLength
    if (bytes > objectBytesMax) return `${kind} ${name} has ${bytes} bytes, and ${objectBytesMax} are the most`
    // Read above: it has all that the type says.
    objects.push(document as ChartObject)
  }
  return objects.length === 0 ? "there is no object in it: does the chart render to something?" : objects
}

/** Everything that is wrong, each in a line; empty = it may be applied. */
export const violations = (
  objects: ReadonlyArray<ChartObject>,
  entry: Entry,
  policy: Policy
): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const seen = new Set<string>()
  for (const object of objects) {
    const title = titleOf(object)
    const key = `${kindOf(object)} ${object.metadata.name}`
    if (seen.has(key)) wrong.push(`${title}: it is there twice`)
    seen.add(key)
    if (!(kindOf(object) in kinds) && !isExtra(object, policy)) {
      wrong.push(`${title}: ${kindOf(object)} is not a kind that a chart may have; allowed: ${allowedKinds(policy)}`)
    }
  }
  if (policy.name === "Unrestricted") return wrong
  for (const object of objects) wrong.push(...violationsOf(object).map((line) => `${titleOf(object)}: ${line}`))
  wrong.push(...entryViolations(objects, entry, policy))
  return wrong
}

const allowedKinds = ({ extraKubernetesTypes }: Policy): string =>
  [
    ...Object.keys(kinds).map((name) => name.slice(name.indexOf(" ") + 1)),
    ...extraKubernetesTypes.map(({ kind }) => kind)
  ].join(", ")

const violationsOf = (object: ChartObject): ReadonlyArray<string> => {
  if (object.kind === "Service") {
    const type = Fields.text(object, "spec", "type") ?? "ClusterIP"
    const external = Fields.list(object, "spec", "externalIPs")
    return [
      ...(type === "ClusterIP" ? [] : [`spec.type is ${type}: only ClusterIP, headless too`]),
      ...(external.length === 0 ? [] : ["spec.externalIPs: nobody outside calls it"])
    ]
  }
  return podViolations(podSpecOf(object))
}

/** Of a Pod, or of the template of what makes some. */
const podPathOf = ({ kind }: ChartObject): ReadonlyArray<string> | undefined => {
  if (kind === "Pod") return ["spec"]
  if (kind === "CronJob") return ["spec", "jobTemplate", "spec", "template", "spec"]
  return ["Deployment", "ReplicaSet", "StatefulSet", "Job"].includes(kind) ? ["spec", "template", "spec"] : undefined
}

const podSpecOf = (object: ChartObject): unknown => {
  const path = podPathOf(object)
  return path === undefined ? undefined : Fields.at(object, ...path)
}

const containersOf = (pod: unknown): ReadonlyArray<unknown> =>
  ["initContainers", "containers", "ephemeralContainers"].flatMap((field) => Fields.list(pod, field))

const volumeKinds = new Set(["emptyDir", "configMap", "secret", "projected", "persistentVolumeClaim"])
const projectedKinds = new Set(["configMap", "secret"])
const profiles = new Set(["RuntimeDefault", "Localhost"])
const seLinuxTypes = new Set(["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])

const podViolations = (pod: unknown): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  for (const field of ["hostIPC", "hostPID", "hostNetwork"]) {
    if (Fields.at(pod, field) === true) wrong.push(`${field} is true: a pod has its own`)
  }
  for (const volume of Fields.list(pod, "volumes")) {
    const name = Fields.text(volume, "name") ?? "?"
    for (const kind of Fields.names(volume).filter((field) => field !== "name")) {
      if (!volumeKinds.has(kind)) wrong.push(`volume ${name} is a ${kind}: only ${[...volumeKinds].join(", ")}`)
    }
    for (const source of Fields.list(volume, "projected", "sources")) {
      const other = Fields.names(source).find((kind) => !projectedKinds.has(kind))
      if (other !== undefined) wrong.push(`volume ${name} projects a ${other}: only ${[...projectedKinds].join(", ")}`)
    }
  }
  const podContext = Fields.at(pod, "securityContext")
  wrong.push(...contextViolations(podContext).map((line) => `securityContext.${line}`))
  for (const container of containersOf(pod)) {
    const name = Fields.text(container, "name") ?? "?"
    wrong.push(...containerViolations(container, podContext).map((line) => `container ${name}: ${line}`))
  }
  return wrong
}

const containerViolations = (container: unknown, podContext: unknown): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const context = Fields.at(container, "securityContext")
  const either = (...path: ReadonlyArray<string>): unknown =>
    Fields.at(context, ...path) ?? Fields.at(podContext, ...path)
  for (const port of Fields.list(container, "ports")) {
    const hostPort = Fields.at(port, "hostPort")
    if (hostPort !== undefined && hostPort !== 0) wrong.push(`hostPort ${String(hostPort)}: use a Service`)
  }
  if (Fields.at(context, "privileged") === true) wrong.push("privileged is true")
  if (Fields.at(context, "readOnlyRootFilesystem") !== true) {
    wrong.push("readOnlyRootFilesystem is not true: write to an emptyDir")
  }
  if (either("runAsNonRoot") !== true) wrong.push("runAsNonRoot is not true, neither here nor in the pod")
  if (either("runAsUser") === 0) wrong.push("runAsUser is 0")
  if (!profiles.has(String(either("seccompProfile", "type")))) {
    wrong.push("seccompProfile.type is neither RuntimeDefault nor Localhost, neither here nor in the pod")
  }
  const dropped = Fields.list(context, "capabilities", "drop")
  if (!dropped.includes("ALL")) wrong.push("capabilities.drop has no ALL")
  const added = Fields.list(context, "capabilities", "add").find((one) => one !== "NET_BIND_SERVICE")
  if (added !== undefined) wrong.push(`capabilities.add has ${String(added)}: only NET_BIND_SERVICE`)
  const procMount = Fields.at(context, "procMount")
  if (procMount !== undefined && procMount !== "Default") wrong.push(`procMount is ${String(procMount)}: only Default`)
  return [...wrong, ...contextViolations(context)]
}

const contextViolations = (context: unknown): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const armor = Fields.text(context, "appArmorProfile", "type")
  if (armor !== undefined && !profiles.has(armor)) wrong.push(`appArmorProfile.type is ${armor}`)
  const linux = Fields.at(context, "seLinuxOptions")
  if (!seLinuxTypes.has(Fields.text(linux, "type") ?? "")) wrong.push("seLinuxOptions.type is not one of a container")
  if (Fields.text(linux, "user") || Fields.text(linux, "role")) wrong.push("seLinuxOptions has a user or a role")
  return wrong
}

const entryViolations = (
  objects: ReadonlyArray<ChartObject>,
  { serviceName, servicePort }: Entry,
  { extraKubernetesTypes }: Policy
): ReadonlyArray<string> => {
  const service = objects.find(({ kind, metadata }) => kind === "Service" && metadata.name === serviceName)
  // Something that another controller makes of its own kinds may bring it.
  if (service === undefined && extraKubernetesTypes.length > 0) return []
  if (service === undefined) return [`there is no Service ${serviceName}, which calls should go to`]
  const port = Fields.list(service, "spec", "ports").find((one) => Fields.at(one, "port") === servicePort)
  if (port === undefined) return [`Service ${serviceName} has no port ${servicePort}, which calls should go to`]
  if (extraKubernetesTypes.length > 0) return []
  const target = Fields.at(port, "targetPort") ?? servicePort
  const selector = Fields.at(service, "spec", "selector")
  const exposes = (object: ChartObject): boolean => {
    const path = podPathOf(object)
    if (path === undefined) return false
    const labels = Fields.at(object, ...path.slice(0, -1), "metadata", "labels")
    const names = Fields.names(selector)
    const isSelected = names.length > 0 && names.every((name) => Fields.at(labels, name) === Fields.at(selector, name))
    const ports = Fields.list(podSpecOf(object), "containers").flatMap((one) => Fields.list(one, "ports"))
    return (
      isSelected &&
      ports.some((one) => Fields.at(one, typeof target === "number" ? "containerPort" : "name") === target)
    )
  }
  return objects.some(exposes) ? [] : [`no pod that Service ${serviceName} selects exposes the port ${String(target)}`]
}

/**
 * Whoever fetches a chart takes what follows the last - for its version, so that must be a whole one: of
 * `model-1.2.3-rc.1.tgz` it would be `rc.1`.
 */
const fileName = /\/[^/]+-v?\d+\.\d+\.\d+(\+[\dA-Za-z.]+)?\.tgz$/

/** Why no chart can be at this address, as far as the address itself says; undefined = one can. */
export const addressViolation = (url: string): string | undefined => {
  if (!URL.canParse(url)) return `${url} is not a URL`
  const { protocol, pathname, username, password } = new URL(url)
  if (protocol !== "https:" && protocol !== "oci:") return `${url}: charts come by https or oci`
  if (username !== "" || password !== "") return "the URL of a chart holds no credentials"
  return fileName.test(pathname)
    ? undefined
    : `${url} does not end with NAME-X.Y.Z.tgz: a version with - in it cannot be told from the name`
}

/** Without what ties it to nodes, identities and owners of the chart's choice. */
export const madeSafe = (object: ChartObject): ChartObject => {
  const { ownerReferences: _, namespace: _namespace, ...metadata } = object.metadata
  const own: ChartObject = { ...object, metadata: { ...metadata, name: object.metadata.name } }
  const path = podPathOf(own)
  return path === undefined ? own : Fields.replaced(own, path, safePod)
}

/** Which nodes pods of a chart may stand on, and with what they get their images. */
export interface Place {
  readonly nodeSelector: Readonly<Record<string, string>>
  /** Terms of a required node affinity; empty = none. */
  readonly nodeTerms: ReadonlyArray<unknown>
  readonly tolerations: ReadonlyArray<unknown>
  /** Names of Secrets. */
  readonly pullSecrets: ReadonlyArray<string>
}

/** Its pods stand where the cluster's own do; tolerations and pull secrets of its own it keeps. */
export const placed = (
  object: ChartObject,
  { nodeSelector, nodeTerms, tolerations, pullSecrets }: Place
): ChartObject => {
  const path = podPathOf(object)
  if (path === undefined) return object
  return Fields.replaced(object, path, (pod) => {
    const all = Fields.record(pod)
    const required = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: nodeTerms } }
    return {
      ...all,
      ...(Object.keys(nodeSelector).length === 0
        ? {}
        : { nodeSelector: { ...Fields.record(all["nodeSelector"]), ...nodeSelector } }),
      ...(nodeTerms.length === 0 ? {} : { affinity: { ...Fields.record(all["affinity"]), nodeAffinity: required } }),
      ...(tolerations.length === 0 ? {} : { tolerations: [...Fields.list(all, "tolerations"), ...tolerations] }),
      ...(pullSecrets.length === 0
        ? {}
        : { imagePullSecrets: [...Fields.list(all, "imagePullSecrets"), ...pullSecrets.map((name) => ({ name }))] })
    }
  })
}

const safePod = (pod: unknown): unknown => {
  const all = Fields.record(pod)
  const {
    nodeSelector: _1,
    nodeName: _2,
    serviceAccountName: _3,
    serviceAccount: _4,
    priorityClassName: _5,
    ...rest
  } = all
  const { nodeAffinity: _6, ...affinity } = Fields.record(rest["affinity"])
  const containers = Object.fromEntries(
    ["initContainers", "containers"].flatMap((field) =>
      field in rest ? [[field, Fields.list(rest, field).map(safeContainer)]] : []
    )
  )
  return { ...rest, ...("affinity" in rest ? { affinity } : {}), ...containers, automountServiceAccountToken: false }
}

const safeContainer = (container: unknown): unknown => {
  const all = Fields.record(container)
  if (!("securityContext" in all)) return all
  return { ...all, securityContext: { ...Fields.record(all["securityContext"]), allowPrivilegeEscalation: false } }
}
