/**
 * What stands around a chart in its namespace: quotas, and who may talk to whom.
 *
 * @module
 */
import type { Spec } from "./MiniService.ts"

export interface Around {
  /** With `{namespace}` in it. */
  readonly target: string
  readonly body: unknown
}

const objectsMax = {
  "count/configmaps": "20",
  "count/secrets": "20",
  "count/services": "20",
  "count/pods": "100",
  "count/jobs.batch": "10",
  "count/cronjobs.batch": "10",
  "count/deployments.apps": "10",
  "count/replicasets.apps": "11",
  "count/statefulsets.apps": "11"
}

const quota = (name: string, hard: Readonly<Record<string, string>>): Around => ({
  target: `/api/v1/namespaces/{namespace}/resourcequotas/${name}`,
  body: { apiVersion: "v1", kind: "ResourceQuota", metadata: { name }, spec: { hard } }
})

/** GPUs of all pods together are those of the instance type. */
export const quotasOf = ({ gpuCount = 0 }: Spec): ReadonlyArray<Around> => [
  quota("max-gpus", { "requests.nvidia.com/gpu": String(gpuCount) }),
  quota("max-objects", objectsMax)
]

const peerOf = ({ namespace, labels }: NonNullable<Spec["workers"]>) => ({
  namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
  podSelector: { matchLabels: labels }
})

/** Inside the namespace everybody may; from outside its worker alone; the metadata address of the cloud is out of reach. */
export const networkPolicyOf = ({ workers }: Spec): Around => ({
  target: "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/millrace",
  body: {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "millrace" },
    spec: {
      podSelector: {},
      policyTypes: ["Ingress", "Egress"],
      ingress: [{ from: [{ podSelector: {} }, ...(workers === undefined ? [] : [peerOf(workers)])] }],
      egress: [
        { to: [{ podSelector: {} }] },
        {
          to: [
            { ipBlock: { cidr: "0.0.0.0/0", except: ["169.254.0.0/16"] } },
            { ipBlock: { cidr: "::/0", except: ["fe80::/10"] } }
          ]
        }
      ]
    }
  }
})
