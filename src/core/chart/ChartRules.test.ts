import { describe, expect, it } from "vitest"
import * as ChartRules from "./ChartRules.ts"
import * as Fields from "./Fields.ts"

const policy: ChartRules.Policy = { name: "Default", extraKubernetesTypes: [] }
const entry = { serviceName: "front", servicePort: 80 }

const container = {
  name: "one",
  image: "a:1",
  ports: [{ name: "http", containerPort: 8_080 }],
  securityContext: { readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } }
}
const podSpec = {
  securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
  containers: [container]
}
const deployment = (spec: object = podSpec): ChartRules.ChartObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "model" },
  spec: { template: { metadata: { labels: { app: "model" } }, spec } }
})
const service = (spec: object = {}): ChartRules.ChartObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "front" },
  spec: { selector: { app: "model" }, ports: [{ port: 80, targetPort: "http" }], ...spec }
})
const good = [deployment(), service()]
const check = (objects: ReadonlyArray<ChartRules.ChartObject>, change: Partial<ChartRules.Policy> = {}) =>
  ChartRules.violations(objects, entry, { ...policy, ...change })

/** The good chart with one thing in its pod otherwise. */
const withPod = (path: ReadonlyArray<string>, value: unknown) => [
  deployment(Fields.replaced(podSpec, path, () => value)),
  service()
]
const withContainer = (path: ReadonlyArray<string>, value: unknown) =>
  withPod(["containers"], [Fields.replaced(container, path, () => value)])

describe("rules of charts", () => {
  it("a chart that keeps to them is taken", () => {
    expect(check(good)).toEqual([])
    expect(check([deployment(), service({ ports: [{ port: 80, targetPort: 8_080 }] })])).toEqual([])
    expect(check([...withContainer(["securityContext", "capabilities", "add"], ["NET_BIND_SERVICE"])])).toEqual([])
    expect(check([...good, service({ clusterIP: "None" })].slice(0, 2))).toEqual([])
  })

  it.each([
    ["hostNetwork", withPod(["hostNetwork"], true), /Deployment model: hostNetwork/],
    ["hostPID", withPod(["hostPID"], true), /hostPID/],
    ["hostIPC", withPod(["hostIPC"], true), /hostIPC/],
    ["a host path", withPod(["volumes"], [{ name: "v", hostPath: { path: "/" } }]), /volume v is a hostPath/],
    [
      "a token by a projected volume",
      withPod(["volumes"], [{ name: "v", projected: { sources: [{ serviceAccountToken: {} }] } }]),
      /projects a serviceAccountToken/
    ],
    ["no seccomp", withPod(["securityContext", "seccompProfile"], undefined), /seccompProfile/],
    ["perhaps root", withPod(["securityContext", "runAsNonRoot"], undefined), /runAsNonRoot/],
    ["root", withContainer(["securityContext", "runAsUser"], 0), /runAsUser is 0/],
    ["non-root taken back", withContainer(["securityContext", "runAsNonRoot"], false), /runAsNonRoot/],
    ["a host port", withContainer(["ports"], [{ ...container.ports[0], hostPort: 80 }]), /hostPort 80: use a Service/],
    ["privileged", withContainer(["securityContext", "privileged"], true), /privileged/],
    ["a root that can be written", withContainer(["securityContext", "readOnlyRootFilesystem"], false), /emptyDir/],
    ["kept capabilities", withContainer(["securityContext", "capabilities"], {}), /drop has no ALL/],
    [
      "another capability",
      withContainer(["securityContext", "capabilities", "add"], ["SYS_ADMIN"]),
      /add has SYS_ADMIN/
    ],
    ["an unmasked /proc", withContainer(["securityContext", "procMount"], "Unmasked"), /procMount/],
    ["no AppArmor", withContainer(["securityContext", "appArmorProfile"], { type: "Unconfined" }), /appArmor/],
    ["an SELinux user", withContainer(["securityContext", "seLinuxOptions"], { user: "a" }), /a user or a role/],
    ["an SELinux role", withContainer(["securityContext", "seLinuxOptions"], { role: "a" }), /seLinux/],
    ["an SELinux type", withPod(["securityContext", "seLinuxOptions"], { type: "spc_t" }), /seLinux/],
    ["a load balancer", [deployment(), service({ type: "LoadBalancer" })], /Service front: spec.type is LoadBalancer/],
    ["an external address", [deployment(), service({ externalIPs: ["1.2.3.4"] })], /externalIPs/],
    ["no entry", [deployment()], /no Service front/],
    ["another port of the entry", [deployment(), service({ ports: [{ port: 81 }] })], /has no port 80/],
    ["an entry to nobody", [deployment(), service({ selector: { app: "b" } })], /no pod that Service front selects/],
    ["an entry without a selector", [deployment(), service({ selector: {} })], /no pod that Service front selects/],
    ["the same object twice", [...good, deployment()], /Deployment model: it is there twice/]
  ])("H2: %s is refused by name", (_, objects, message) => {
    expect(check(objects).join("\n")).toMatch(message)
    const always = String(message).includes("twice")
    expect(check(objects, { name: "Unrestricted" }).length > 0).toBe(always)
  })

  it("what the rules leave open is taken", () => {
    const volumes = ["emptyDir", "configMap", "secret", "persistentVolumeClaim"].map((kind) => ({
      name: "v",
      [kind]: {}
    }))
    const sources = [{ configMap: {} }, { secret: {} }]
    expect(check(withPod(["volumes"], [...volumes, { name: "v", projected: { sources } }]))).toEqual([])
    expect(check(withContainer(["ports"], [{ ...container.ports[0], hostPort: 0 }]))).toEqual([])
    expect(check(withContainer(["securityContext", "procMount"], "Default"))).toEqual([])
    expect(check(withContainer(["securityContext", "appArmorProfile"], { type: "Localhost" }))).toEqual([])
    for (const type of ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"]) {
      expect(check(withContainer(["securityContext", "seLinuxOptions"], { type }))).toEqual([])
    }
  })

  it("H2: a refusal says what there may be, and of what has no name that it has none", () => {
    const nameless = check(withPod(["volumes"], [{ hostPath: {} }, { projected: { sources: [{ token: {} }] } }]))
    expect(nameless).toEqual([
      "Deployment model: volume ? is a hostPath: only emptyDir, configMap, secret, projected, persistentVolumeClaim",
      "Deployment model: volume ? projects a token: only configMap, secret"
    ])
    const unnamed = {
      ...container,
      name: undefined,
      securityContext: { ...container.securityContext, privileged: true }
    }
    expect(check(withPod(["ephemeralContainers"], [unnamed]))).toEqual([
      "Deployment model: container ?: privileged is true"
    ])
    const event = { apiVersion: "v1", kind: "Event", metadata: { name: "e" } }
    const extraKubernetesTypes = [{ group: "a.test", version: "v1", kind: "Graph" }]
    expect(check([event], { name: "Unrestricted", extraKubernetesTypes })).toEqual([
      "Event e: v1 Event is not a kind that a chart may have; allowed: Pod, Service, ConfigMap, Secret, " +
        "PersistentVolumeClaim, ServiceAccount, Deployment, ReplicaSet, StatefulSet, Job, CronJob, Role, RoleBinding, Graph"
    ])
  })

  it("calls go to a port that a pod exposes which all of the selector fits", () => {
    const front = { apiVersion: "v1", kind: "Pod", metadata: { name: "front" } }
    const both = { containers: [{ ...container, ports: [{ name: "other", containerPort: 1 }, ...container.ports] }] }
    expect(check([front, service(), deployment({ ...podSpec, ...both })])).toEqual([])
    expect(check([{ ...service(), metadata: { name: "other" }, spec: {} }, ...good])).toEqual([])
    const none = "no pod that Service front selects exposes the port"
    expect(check([deployment(), service({ selector: { app: "model", tier: "a" } })])).toEqual([`${none} http`])
    expect(check([deployment(), service({ ports: [{ port: 80, targetPort: "grpc" }] })])).toEqual([`${none} grpc`])
    expect(check([deployment(), service({ ports: [{ port: 80 }] })])).toEqual([`${none} 80`])
  })

  it("the same rules hold for every kind that makes pods, and for init containers", () => {
    const bad = { ...podSpec, initContainers: [{ ...container, securityContext: {} }] }
    const template = { metadata: { labels: { app: "model" } }, spec: bad }
    const shapes: ReadonlyArray<readonly [string, string, unknown]> = [
      ["v1", "Pod", bad],
      ["apps/v1", "ReplicaSet", { template }],
      ["apps/v1", "StatefulSet", { template }],
      ["batch/v1", "Job", { template }],
      ["batch/v1", "CronJob", { jobTemplate: { spec: { template } } }]
    ]
    for (const [apiVersion, kind, spec] of shapes) {
      const lines = check([...good, { apiVersion, kind, metadata: { name: "x" }, spec }])
      expect(lines.join()).toMatch(new RegExp(`${kind} x: container one: readOnlyRootFilesystem`))
    }
  })

  it("H1: other kinds are refused, under both policies, unless they are allowed by group, version and name", () => {
    const graph = { apiVersion: "a.test/v1", kind: "Graph", metadata: { name: "g" } }
    const extra = { group: "a.test", version: "v1", kind: "Graph" }
    for (const name of ["Default", "Unrestricted"] as const) {
      expect(check([...good, graph], { name }).join()).toMatch(/Graph g: a.test\/v1 Graph is not a kind/)
      expect(check([...good, graph], { name, extraKubernetesTypes: [extra] })).toEqual([])
      expect(check([...good, graph], { name, extraKubernetesTypes: [{ ...extra, version: "v2" }] })).toHaveLength(1)
    }
    // An allowed kind allows no other of its group, and the group of Kubernetes itself has no name.
    const event = { apiVersion: "v1", kind: "Event", metadata: { name: "e" } }
    expect(check([...good, { ...graph, kind: "Other" }], { extraKubernetesTypes: [extra] })).toHaveLength(1)
    const own = { group: "", version: "v1", kind: "Event" }
    expect(check([...good, event], { extraKubernetesTypes: [own] })).toEqual([])
    const definition = {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "d" }
    }
    expect(check([...good, definition])).toHaveLength(1)
    // A kind of that name in another group is another kind.
    expect(check([...good, { ...graph, kind: "Deployment" }])).toHaveLength(1)
  })

  it("with kinds of others, the entry may be made by their controllers", () => {
    const extraKubernetesTypes = [{ group: "a.test", version: "v1", kind: "Graph" }]
    expect(
      check([{ apiVersion: "a.test/v1", kind: "Graph", metadata: { name: "g" } }], { extraKubernetesTypes })
    ).toEqual([])
    expect(check([service()], { extraKubernetesTypes })).toEqual([])
    expect(check([service({ ports: [] })], { extraKubernetesTypes })).toEqual([
      "Service front has no port 80, which calls should go to"
    ])
  })

  it("documents are counted, weighed and named", () => {
    const many = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ ...deployment(), metadata: { name: `d${i}` } }))
    expect(ChartRules.read([...many(300), null])).toHaveLength(300)
    expect(ChartRules.read(many(301))).toMatch(/301 objects, and 300/)
    expect(ChartRules.read([null])).toMatch(/no object/)
    expect(ChartRules.read([{ apiVersion: "v1", kind: "Pod", metadata: {} }])).toMatch(
      /object 1 \(Pod\) has no metadata.name/
    )
    expect(ChartRules.read([{ kind: "Pod" }])).toMatch(/no apiVersion/)
    expect(ChartRules.read([{ apiVersion: "v1" }])).toEqual("object 1 has no apiVersion or no kind")
    expect(ChartRules.read([undefined, { kind: "Pod" }])).toEqual("object 1 (Pod) has no apiVersion or no kind")
    expect(ChartRules.read([{ apiVersion: "v1", kind: "Pod", metadata: { name: "" } }])).toMatch(/no metadata.name/)
    expect(ChartRules.objectBytesMax).toBe(1_049_600)
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "a" }, data: "" }
    const left = ChartRules.objectBytesMax - JSON.stringify(pod).length
    expect(ChartRules.read([{ ...pod, data: "x".repeat(left) }])).toHaveLength(1)
    expect(ChartRules.read([{ ...pod, data: `${"x".repeat(left - 1)}ü` }])).toEqual(
      "Pod a has 1049601 bytes, and 1049600 are the most"
    )
  })

  it("the plural name of each kind is its own in small letters with an s", () => {
    for (const [kind, plural] of Object.entries(ChartRules.kinds)) {
      expect(plural).toBe(`${kind.split(" ").at(-1)?.toLowerCase()}s`)
    }
  })

  const addresses: ReadonlyArray<readonly [string, string | undefined]> = [
    ["oci://charts.example/model-1.2.3.tgz", undefined],
    ["https://charts.example/a/b/model-a-1.2.3.tgz?x=1", undefined],
    ["https://charts.example/model-v10.20.30+build.4.tgz", undefined],
    ["charts.example", "charts.example is not a URL"],
    ["http://a.test/model-1.tgz", "http://a.test/model-1.tgz: charts come by https or oci"],
    ["https://me@a.test/model-1.tgz", "the URL of a chart holds no credentials"],
    ["https://:secret@a.test/model-1.tgz", "the URL of a chart holds no credentials"],
    ...[
      "model.tgz",
      "model-1.2.3.tar",
      "model-1.2.3.tgz.sig",
      "-1.2.3.tgz",
      "model-.tgz",
      "a-b/1.2.3.tgz",
      "model-1.2.3-rc.1.tgz",
      "model-1.2.3-4.tgz",
      "model-1.2.tgz",
      "model-1.2.3.4.tgz",
      "model-1.2.3+.tgz",
      "model-latest.tgz"
    ].map((name): readonly [string, string] => [
      `oci://a.test/${name}`,
      `oci://a.test/${name} does not end with NAME-X.Y.Z.tgz: a version with - in it cannot be told from the name`
    ])
  ]
  it.each(addresses)("of the address %s it is said: %s", (url, violation) => {
    expect(ChartRules.addressViolation(url)).toBe(violation)
  })

  it("H3: what ties a pod to nodes, identities and owners goes, and doing it twice changes nothing", () => {
    const tied = deployment({
      ...podSpec,
      nodeName: "n",
      nodeSelector: { a: "b" },
      serviceAccountName: "root",
      priorityClassName: "system-node-critical",
      affinity: { nodeAffinity: {}, podAffinity: { kept: true } }
    })
    const owned = {
      ...tied,
      metadata: { name: "model", namespace: "kube-system", ownerReferences: [{}], labels: { a: "b" } }
    }
    const safe = ChartRules.madeSafe(owned)
    expect(safe.metadata).toEqual({ name: "model", labels: { a: "b" } })
    expect(Fields.at(safe, "spec", "template", "spec")).toEqual({
      ...podSpec,
      containers: [
        { ...container, securityContext: { ...container.securityContext, allowPrivilegeEscalation: false } }
      ],
      affinity: { podAffinity: { kept: true } },
      automountServiceAccountToken: false
    })
    expect(ChartRules.madeSafe(safe)).toEqual(safe)
    expect(ChartRules.madeSafe(service())).toEqual(service())
    const bare = { initContainers: [container], containers: [{ name: "bare" }] }
    expect(Fields.at(ChartRules.madeSafe(deployment(bare)), "spec", "template", "spec")).toEqual({
      initContainers: [
        { ...container, securityContext: { ...container.securityContext, allowPrivilegeEscalation: false } }
      ],
      containers: [{ name: "bare" }],
      automountServiceAccountToken: false
    })
    expect(check([safe, service()])).toEqual([])
  })

  it("pods of a chart are put on the nodes of the cluster, whatever makes them, and keep what else they say", () => {
    const place = {
      nodeSelector: { pool: "a" },
      nodeTerms: [{ a: 1 }],
      tolerations: [{ key: "gpu" }],
      pullSecrets: ["p"]
    }
    const nodeSelector = { own: "b" }
    const tied = {
      ...podSpec,
      nodeSelector,
      affinity: { podAffinity: { kept: true } },
      tolerations: [{ key: "own" }],
      imagePullSecrets: [{ name: "o" }]
    }
    expect(Fields.at(ChartRules.placed(deployment(tied), place), "spec", "template", "spec")).toEqual({
      ...tied,
      nodeSelector: { own: "b", pool: "a" },
      affinity: {
        podAffinity: { kept: true },
        nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ a: 1 }] } }
      },
      tolerations: [{ key: "own" }, { key: "gpu" }],
      imagePullSecrets: [{ name: "o" }, { name: "p" }]
    })
    expect(ChartRules.placed(service(), place)).toEqual(service())
    const anywhere = { nodeSelector: {}, nodeTerms: [], tolerations: [], pullSecrets: [] }
    expect(ChartRules.placed(deployment(), anywhere)).toEqual(deployment())
  })
})
