/**
 * What the laws of all backends do not say: restarts, rights, what is written in the cluster, and bad servers.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterAll, afterEach, describe, expect, inject, it } from "vitest"
import type { ComputeBackend, InstanceObservation } from "../../src/backends/ComputeBackend.ts"
import * as Names from "../../src/backends/kubernetes/Names.ts"
import * as Admin from "./Admin.ts"
import * as FaultProxy from "./FaultProxy.ts"
import { addNodes, newCluster, openBackend, removeAll, specOf } from "./harness.ts"
import { serverOf } from "./serverOf.ts"

const kubeconfig = inject("kubeconfig")
const admin = await Admin.open(kubeconfig)
const proxy = await FaultProxy.start(serverOf(kubeconfig))
const agentKubeconfig = await admin.agentKubeconfig(inject("directory"), proxy.url)
const paths = Names.pathsOf(Admin.namespace)
const sleeps = { kind: "sleeps" } as const

interface Opened {
  readonly backend: ComputeBackend["Service"]
  readonly observations: ReadonlyArray<InstanceObservation>
  readonly tagsOf: (instanceId: string) => ReadonlyArray<string>
  readonly close: () => Promise<void>
}

const clusters: Array<string> = []
const scopes = new Set<Scope.Closeable>()

const open = async (cluster: string, options: Partial<Parameters<typeof openBackend>[0]> = {}): Promise<Opened> => {
  const scope = Effect.runSync(Scope.make())
  scopes.add(scope)
  const close = async () => {
    scopes.delete(scope)
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
  const observations: Array<InstanceObservation> = []
  const made = openBackend({ cluster, kubeconfig: agentKubeconfig, ...options }).pipe(
    Effect.tap((backend) => backend.watch((one) => observations.push(one)))
  )
  const backend = await Effect.runPromise(Scope.provide(made, scope))
  const tagsOf = (instanceId: string) =>
    observations.flatMap((one) => (one._tag !== "Gap" && one.instanceId === instanceId ? [one._tag] : []))
  return { backend, observations, tagsOf, close }
}

const newPool = async (gpus = 4): Promise<string> => {
  const cluster = newCluster()
  clusters.push(cluster)
  await addNodes(admin, cluster, 1, gpus)
  return cluster
}

const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)
const podsOf = (cluster: string) => admin.pods(Names.selectorOf(Names.labelsOfCluster(cluster)))
const requestOf = (cluster: string, instanceId: string) =>
  admin.find({ method: "GET", path: `${paths.requests}/${Names.requestName(cluster, instanceId)}` })
const textOf = async (cluster: string, instanceId: string) => JSON.stringify(await requestOf(cluster, instanceId)) ?? ""

afterEach(async () => {
  proxy.rule(() => FaultProxy.pass)
  for (const scope of scopes) await run(Scope.close(scope, Exit.void))
  scopes.clear()
})

afterAll(async () => {
  for (const cluster of clusters) await removeAll(admin, cluster, 1)
  await proxy.stop()
})

describe("the Kubernetes backend on a real API server", () => {
  it("writes a request, a Secret that it owns and a Pod that it owns, and leaves nothing of them", async () => {
    const cluster = await newPool()
    const { backend, tagsOf } = await open(cluster)
    const secrets = { token: "s3cret" }
    await run(backend.launch({ ...specOf("a", sleeps), environment: { COLOUR: "blue" }, secrets }))
    await Admin.waitFor("it to run", async () => tagsOf("a").includes("Started"))
    await Admin.waitFor("its status", async () =>
      (await textOf(cluster, "a")).includes('"requestStatus":"RequestCompleted"')
    )
    const request = (await requestOf(cluster, "a")) as { readonly metadata: { readonly uid: string } }
    const name = Names.requestName(cluster, "a")
    const secretPath = `${paths.secrets}/${Names.secretName(name, request.metadata.uid)}`
    for (const path of [secretPath, `${paths.pods}/${Names.podName(name)}`]) {
      expect(JSON.stringify(await admin.call({ method: "GET", path }))).toContain(`"uid":"${request.metadata.uid}"`)
    }
    expect(await textOf(cluster, "a")).not.toContain("s3cret")
    await run(backend.terminate("a", 1_000))
    await Admin.waitFor("the request to be gone", async () => (await requestOf(cluster, "a")) === undefined)
    await Admin.waitFor(
      "its Secret to be gone",
      async () => (await admin.find({ method: "GET", path: secretPath })) === undefined
    )
    expect(await podsOf(cluster)).toEqual([])
  })

  it("shows people what became of it: columns, a cluster's report, a failure that stays", async () => {
    const cluster = await newPool()
    const { backend, tagsOf } = await open(cluster)
    await run(backend.launch(specOf("bad", { kind: "exits", code: 3, says: "out of cheese" })))
    await Admin.waitFor("its end", async () => tagsOf("bad").includes("Exited"))
    await Admin.waitFor("its acknowledgement", async () =>
      (await textOf(cluster, "bad")).includes("RequestFailureAcknowledged")
    )
    expect(await textOf(cluster, "bad")).toContain("out of cheese")
    expect(await run(backend.list)).toEqual([])
    const report = `${paths.backends}/${Names.backendName(cluster)}`
    await Admin.waitFor("its report", async () =>
      (JSON.stringify(await admin.find({ method: "GET", path: report })) ?? "").includes('"agentStatus":"Healthy"')
    )
    const table = await admin.call({
      method: "GET",
      path: `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/icmsrequests.compute.millrace.dev`
    })
    for (const column of ["Function", "Status", "Phase", "Cause", "Age"])
      expect(JSON.stringify(table)).toContain(`"name":"${column}"`)
  })

  it("a request that is deleted by hand is a force-kill that is told, and its finalizer lets it go", async () => {
    const cluster = await newPool()
    const { backend, tagsOf } = await open(cluster)
    await run(backend.launch(specOf("a", sleeps)))
    await Admin.waitFor("it to run", async () => tagsOf("a").includes("Started"))
    await admin.call({ method: "DELETE", path: `${paths.requests}/${Names.requestName(cluster, "a")}` })
    await Admin.waitFor("its end to be told", async () => tagsOf("a").includes("Exited"))
    await Admin.waitFor("it to be gone", async () => (await requestOf(cluster, "a")) === undefined)
    expect(await podsOf(cluster)).toEqual([])
  })

  it("a spec cannot be changed by anybody once it is there", async () => {
    const cluster = await newPool()
    const { backend } = await open(cluster)
    await run(backend.launch(specOf("a", sleeps)))
    const path = `${paths.requests}/${Names.requestName(cluster, "a")}`
    const body = { spec: { image: "somebody/elses:1" } }
    const contentType = "application/merge-patch+json"
    await expect(admin.call({ method: "PATCH", path, contentType, body })).rejects.toThrow(/immutable/)
    await run(backend.launch({ ...specOf("a", sleeps), image: "law.test/other" }))
    expect((await podsOf(cluster)).length).toBe(1)
  })

  it("a leader that dies is followed by another, which finishes what it began", async () => {
    const cluster = await newPool()
    const first = await open(cluster)
    await run(first.backend.launch(specOf("a", sleeps)))
    await Admin.waitFor("it to run", async () => first.tagsOf("a").includes("Started"))
    const second = await open(cluster)
    await run(first.backend.launch(specOf("b", sleeps)))
    await first.close()
    await run(second.backend.launch(specOf("c", sleeps)))
    await Admin.waitFor("all to run", async () => (await podsOf(cluster)).length === 3)
    await Admin.waitFor("the new leader to tell", async () => second.tagsOf("c").includes("Started"))
    await run(
      Effect.all(
        ["a", "b", "c"].map((id) => second.backend.terminate(id, 0)),
        { concurrency: 3 }
      )
    )
    expect(await run(second.backend.list)).toEqual([])
  })

  it("has no right that it does not need: what the manifest does not give is refused by the server", async () => {
    const direct = await Admin.open(await admin.agentKubeconfig(inject("directory")))
    const forbidden = [
      { method: "GET", path: paths.secrets },
      { method: "GET", path: "/api/v1/namespaces/kube-system/pods" },
      { method: "DELETE", path: "/api/v1/nodes/any" },
      { method: "GET", path: "/apis/rbac.authorization.k8s.io/v1/clusterroles" },
      { method: "POST", path: `${paths.pods}/any/exec` }
    ] as const
    for (const call of forbidden) await expect(direct.call(call)).rejects.toThrow(/403/)
  })
})

describe("the Kubernetes backend on a bad server", () => {
  it("launches and ends once each, while every third call is answered with 500 or loses its answer", async () => {
    const cluster = await newPool()
    const { backend, tagsOf } = await open(cluster, { timing: { tryMs: 5_000, deadlineMs: 60_000 } })
    let count = 0
    proxy.rule(({ isWatch }) => {
      count++
      if (isWatch) return FaultProxy.pass
      if (count % 6 === 0) return { kind: "answer", status: 500 }
      return count % 6 === 3 ? { kind: "lose-answer" } : FaultProxy.pass
    })
    const ids = ["a", "b", "c", "d"]
    await run(
      Effect.all(
        ids.map((id) => backend.launch(specOf(id, sleeps))),
        { concurrency: 4 }
      )
    )
    await Admin.waitFor("all to run", async () => ids.every((id) => tagsOf(id).includes("Started")))
    expect((await podsOf(cluster)).length).toBe(4)
    await run(
      Effect.all(
        ids.map((id) => backend.terminate(id, 0)),
        { concurrency: 4 }
      )
    )
    expect(await podsOf(cluster)).toEqual([])
    for (const id of ids) expect(tagsOf(id).filter((tag) => tag !== "Phase")).toEqual(["Started", "Exited"])
  })

  it("waits as long as a busy server says, and then does what it was asked for", async () => {
    const cluster = await newPool()
    const { backend, tagsOf } = await open(cluster)
    let left = 2
    proxy.rule(({ method }) =>
      method !== "GET" && left-- > 0 ? { kind: "answer", status: 429, retryAfterSeconds: 1 } : FaultProxy.pass
    )
    const from = performance.now()
    await run(backend.launch(specOf("a", sleeps)))
    expect(performance.now() - from).toBeGreaterThanOrEqual(990)
    await Admin.waitFor("it to run", async () => tagsOf("a").includes("Started"))
  })

  it("says that a server which hangs is unavailable, and that nobody knows what became of the call", async () => {
    const cluster = await newPool()
    const { backend } = await open(cluster, { timing: { tryMs: 300, deadlineMs: 1_000 } })
    proxy.rule(({ isWatch }) => (isWatch ? FaultProxy.pass : { kind: "hang" }))
    expect((await run(Effect.flip(backend.launch(specOf("a", sleeps)))))._tag).toBe("BackendUnavailable")
    expect((await run(Effect.flip(backend.list)))._tag).toBe("BackendUnavailable")
    proxy.rule(() => FaultProxy.pass)
    await run(backend.launch(specOf("a", sleeps)))
    expect((await run(backend.list)).map((one) => one.instanceId)).toEqual(["a"])
  })

  it("misses nothing when all its watches are cut off again and again", async () => {
    const cluster = await newPool()
    const { backend, tagsOf } = await open(cluster)
    let isOver = false
    const cutting = (async () => {
      let cut = 0
      while (!isOver) {
        cut += proxy.cutWatches()
        await new Promise((resolve) => setTimeout(resolve, 150))
      }
      return cut
    })()
    for (const id of ["a", "b", "c"]) {
      await run(backend.launch(specOf(id, sleeps)))
      await Admin.waitFor(`${id} to run`, async () => tagsOf(id).includes("Started"))
      await run(backend.terminate(id, 0))
      await Admin.waitFor(`${id} to be told ended`, async () => tagsOf(id).includes("Exited"))
    }
    isOver = true
    expect(await cutting).toBeGreaterThan(3)
  })

  it("relists after 410 and says that there is a gap", async () => {
    const cluster = await newPool()
    const { backend, observations, tagsOf } = await open(cluster)
    let left = 3
    proxy.rule(({ isWatch }) => (isWatch && left-- > 0 ? { kind: "answer", status: 410 } : FaultProxy.pass))
    proxy.cutWatches()
    await run(backend.launch(specOf("a", sleeps)))
    await Admin.waitFor("it to run", async () => tagsOf("a").includes("Started"))
    await Admin.waitFor("a gap", async () => observations.some((one) => one._tag === "Gap"))
  })
})
