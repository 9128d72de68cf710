/**
 * Names, labels and paths of what this backend has in a cluster. All names follow from the cluster's name and the
 * instance's id, so that whoever does the same thing twice finds it done.
 *
 * @module
 */
import { createHash } from "node:crypto"

export const group = "compute.millrace.dev"
export const version = "v1alpha1"
export const apiVersion = `${group}/${version}`

/** On everything that is ours. */
export const managerLabel = { "app.kubernetes.io/managed-by": "millrace" }
export const clusterLabel = `${group}/cluster`
export const instanceLabel = `${group}/instance`
export const functionLabel = `${group}/function`
/** Of a ConfigMap with the files of a function. */
export const bundleLabel = `${group}/bundle`
export const versionLabel = `${group}/version`
/** The whole id, which a label may not be able to hold. */
export const instanceAnnotation = `${group}/instance-id`
/** Keeps a request until its instance has ended and that was told. */
export const finalizer = `${group}/instance`
/** Who wrote what, in server-side apply. */
export const fieldManager = "millrace"

/** A uuid (version 8, RFC 9562) that these texts always give. */
const uuidOf = (...parts: ReadonlyArray<string>): string => {
  const bytes = createHash("sha256").update(JSON.stringify(parts)).digest().subarray(0, 16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString("hex")
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-")
}

export const requestName = (cluster: string, instanceId: string): string => `sr-${uuidOf(cluster, instanceId)}`

/** NVCF's `<index>-sr-<uuid>`; a request of ours has one instance. */
export const podName = (request: string): string => `0-${request}`

export const requestNameOf = (pod: string): string => pod.slice(2)

/** Of one life of the instance: the next one has another uid. */
export const secretName = (request: string, uid: string): string => `${request}-${uid.slice(0, 8)}`

/** Of the MiniService of one life of a Helm function, and of its namespace. */
export const chartName = (request: string, uid: string): string => `${request}-${uid.slice(0, 8)}`

export const bundleName = (cluster: string, digest: string): string => `fn-${uuidOf(cluster, digest)}`

/** As it is when it can be a label's value; else a digest of it. */
export const labelOf = (text: string): string =>
  /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(text)
    ? text
    : `x-${createHash("sha256").update(text).digest("hex").slice(0, 40)}`

export const leaseName = (cluster: string): string => `millrace-${uuidOf(cluster).slice(0, 13)}`

export const backendName = leaseName

export const labelsOfCluster = (cluster: string): Readonly<Record<string, string>> => ({
  ...managerLabel,
  [clusterLabel]: labelOf(cluster)
})

export const selectorOf = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(",")

export const pathsOf = (namespace: string) => {
  const core = `/api/v1/namespaces/${namespace}`
  const custom = `/apis/${group}/${version}/namespaces/${namespace}`
  return {
    pods: `${core}/pods`,
    secrets: `${core}/secrets`,
    configMaps: `${core}/configmaps`,
    requests: `${custom}/icmsrequests`,
    backends: `${custom}/nvcfbackends`,
    leases: `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`,
    networkPolicies: `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`,
    nodes: "/api/v1/nodes",
    version: "/version",
    /** Of the whole cluster. */
    miniServices: `/apis/${group}/${version}/miniservices`
  }
}
export type Paths = ReturnType<typeof pathsOf>
