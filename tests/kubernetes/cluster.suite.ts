/**
 * The cluster of the tests is a cluster: what the other suites stand on.
 *
 * @module
 */
import { afterAll, describe, expect, inject, it } from "vitest"
import * as Admin from "./Admin.ts"
import { addNodes, newCluster, removeAll } from "./harness.ts"

const admin = await Admin.open(inject("kubeconfig"))

describe("the cluster of the tests", () => {
  const cluster = newCluster()
  afterAll(() => removeAll(admin, cluster, 1))

  it("schedules a pod with a GPU onto a ready node, runs it there, and ends it", async () => {
    await addNodes(admin, cluster, 1, 1)
    const name = `${cluster}-pod`
    const path = `/api/v1/namespaces/${Admin.namespace}/pods/${name}`
    const limits = { "nvidia.com/gpu": "1" }
    const toleration = { key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" }
    await admin.apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: Admin.namespace },
      spec: {
        nodeSelector: { "law.test/pool": cluster },
        tolerations: [toleration],
        containers: [{ name: "one", image: "law.test/sleeps", resources: { limits } }]
      }
    })
    const phaseOf = async () => JSON.stringify((await admin.find({ method: "GET", path })) ?? "gone")
    await Admin.waitFor("it to run", async () => (await phaseOf()).includes('"phase":"Running"'))
    expect(await phaseOf()).toContain(`"nodeName":"${cluster}-0"`)
    await admin.call({ method: "DELETE", path })
    await Admin.waitFor("it to be gone", async () => (await phaseOf()) === '"gone"')
  })

  it("is Kubernetes 1.36 with its own validation of custom resources", async () => {
    const path = `/apis/compute.millrace.dev/v1alpha1/namespaces/${Admin.namespace}/icmsrequests`
    const bad = {
      apiVersion: "compute.millrace.dev/v1alpha1",
      kind: "ICMSRequest",
      metadata: { name: "bad" },
      spec: {}
    }
    await expect(admin.call({ method: "POST", path, body: bad })).rejects.toThrow(/spec.instanceId: Required/)
    if (inject("isOurs")) {
      expect(JSON.stringify(await admin.call({ method: "GET", path: "/version" }))).toContain('"gitVersion":"v1.36.3"')
    }
  })
})
