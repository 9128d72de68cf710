/**
 * `millrace dev --backend kubernetes` on a real API server: the same function, the same call. Nothing runs in a Pod here, so
 * this test is the kubelet of one: it does on this machine what the Pod says, with the files and the environment that the
 * cluster holds, and nothing else.
 *
 * @module
 */
import type { ChildProcess } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { afterAll, afterEach, describe, expect, inject, it } from "vitest"
import * as Api from "../../src/backends/kubernetes/Api.ts"
import * as Bundles from "../../src/backends/kubernetes/Bundles.ts"
import * as Names from "../../src/backends/kubernetes/Names.ts"
import * as Millrace from "../support/MillraceProcess.ts"
import { root } from "../support/TestPlatform.ts"
import * as Admin from "./Admin.ts"
import * as Kubelet from "./Kubelet.ts"

const kubeconfig = inject("kubeconfig")
const admin = await Admin.open(kubeconfig)
const agentKubeconfig = await admin.agentKubeconfig(inject("directory"))
const paths = Names.pathsOf(Admin.namespace)
const image = "law.test/sleeps"
const node = `dev-${process.pid}`

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

const bundles = async () => {
  const query = { labelSelector: Names.bundleLabel }
  const list = (await admin.call({ method: "GET", path: paths.configMaps, query })) as {
    readonly items: ReadonlyArray<unknown>
  }
  return list.items.length
}

describe("millrace dev --backend kubernetes", { timeout: 180_000 }, () => {
  const processes: Array<Millrace.MillraceProcess> = []
  const children: Array<ChildProcess> = []
  const directories: Array<string> = []
  const folder = (parent = tmpdir()) => {
    mkdirSync(parent, { recursive: true })
    const directory = mkdtempSync(join(parent, "mr-"))
    directories.push(directory)
    return directory
  }

  afterEach(async () => {
    for (const child of children.splice(0)) child.kill("SIGKILL")
    await Promise.all(processes.splice(0).map((millrace) => millrace.stop("SIGKILL")))
    for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
  })
  afterAll(async () => {
    await admin.find({ method: "DELETE", path: `${paths.nodes}/${node}` })
  })

  const write = (file: object, server = "") => {
    const directory = folder(join(root, "tests/.tmp"))
    writeFileSync(join(directory, "millrace.json"), JSON.stringify(file))
    if (server !== "") writeFileSync(join(directory, "server.mjs"), server)
    return directory
  }

  const dev = async (directory: string) => {
    await admin.addNode(node, { gpus: 0, labels: {} })
    const port = await freePort()
    const millrace = Millrace.start(
      [
        ...["dev", directory, "--backend", "kubernetes", "--image", image, "--namespace", Admin.namespace],
        ...["--worker-port", String(port), "--worker-address", `127.0.0.1:${port}`, "--state", folder(), "--json"]
      ],
      { KUBECONFIG: agentKubeconfig }
    )
    processes.push(millrace)
    const ready = await millrace.line("ready", ({ event }) => event === "ready", 90_000)
    expect(ready["isolation"]).toBe("container")
    return { millrace, gateway: String(ready["gateway"]), workerUrl: `ws://127.0.0.1:${port}` }
  }

  const podOf = async (functionName: string, { lines }: Millrace.MillraceProcess): Promise<Kubelet.ServerPod> => {
    let pods: ReadonlyArray<Kubelet.ServerPod> = []
    await Admin.waitFor(`a Pod of ${functionName}`, async () => {
      pods = await Kubelet.podsOf(admin, functionName)
      const failed = lines.find(({ state }) => state === "failed")
      if (failed !== undefined) throw new Error(`it failed: ${failed["detail"]}`)
      return pods.length > 0
    })
    expect(pods).toHaveLength(1)
    return pods[0]!
  }

  const server = `
    import { serve } from "millrace/worker"
    serve({ fetch: () => new Response("from " + process.cwd().split("/").at(-1) + " " + process.env.COLOUR) })
  `

  it("a call makes the request, the Pod with the image, the files and the environment; what the Pod says answers it", async () => {
    const directory = write({ name: "bundled", entry: "./server.mjs", environment: { COLOUR: "blue" } }, server)
    // Of suites that ran before.
    const others = await bundles()
    const { millrace, gateway, workerUrl } = await dev(directory)
    const answer = fetch(`${gateway}/f/bundled/`)
    // When the test fails before it is waited for.
    answer.catch(() => undefined)
    const pod = await podOf("bundled", millrace)
    expect([pod.spec.containers[0]?.image, pod.spec.initContainers[0]?.image]).toEqual([image, image])
    expect(pod.metadata.labels[Names.functionLabel]).toMatch(/^[0-9a-f-]{36}$/)
    expect(JSON.stringify(pod)).not.toContain("blue")
    const starting = await millrace.line("its start", ({ state }) => state === "starting", 60_000)
    const { environment, child } = await Kubelet.runHere(admin, pod, folder())
    children.push(child)
    expect(environment).toMatchObject({ COLOUR: "blue", MILLRACE_WORKER_URL: workerUrl })
    expect(await (await answer).text()).toMatch(/^from mr-\w+ blue$/)
    const ready = await millrace.line("its readiness", ({ state }) => state === "ready", 30_000)
    expect(ready["instanceId"]).toBe(starting["instanceId"])
    expect((await bundles()) - others).toBe(1)
    expect(await millrace.stop("SIGINT")).toEqual({ code: 0, signal: null })
    await Admin.waitFor("no Pod of it", async () => (await Kubelet.podsOf(admin, "bundled")).length === 0)
  })

  it("B4: a bundle goes when no request names it and nobody asked for it in a while, and not before", async () => {
    const connection = await Effect.runPromise(Api.connect(agentKubeconfig))
    const options = { api: Api.make(connection), paths, cluster: `bundles-${process.pid}` }
    const digest = "0123456789abcdef"
    const bundle = { digest, content: Buffer.from("files") }
    const path = `${paths.configMaps}/${Names.bundleName(options.cluster, digest)}`
    const isThere = async () => (await admin.find({ method: "GET", path })) !== undefined
    const sweep = (inUse: ReadonlyArray<string>, atMs: number) =>
      Effect.runPromise(Bundles.sweep(options, new Set(inUse), atMs))
    const nowMs = Date.now()
    await Effect.runPromise(Bundles.ensure(options, bundle, nowMs))
    await sweep([], nowMs + Bundles.unusedMs - 1)
    expect(await isThere()).toBe(true)
    await sweep([digest], nowMs + 10 * Bundles.unusedMs)
    expect(await isThere()).toBe(true)
    await Effect.runPromise(Bundles.ensure(options, bundle, nowMs + Bundles.unusedMs))
    await sweep([], nowMs + Bundles.unusedMs + 1)
    expect(await isThere()).toBe(true)
    await sweep([], nowMs + 2 * Bundles.unusedMs)
    expect(await isThere()).toBe(false)
  })

  it("an image of the version is run as it is; an end of its Pod is told as what it was", async () => {
    const { millrace, gateway } = await dev(
      write({
        name: "imaged",
        image: "law.test/eats-memory",
        deployment: { maxAttempts: 1, startDeadlineMs: 30_000 }
      })
    )
    const abort = new AbortController()
    const answer = fetch(`${gateway}/f/imaged/`, { signal: abort.signal }).catch(() => undefined)
    const failed = await millrace.line("its failure", ({ state }) => state === "failed", 90_000)
    expect(failed["detail"]).toMatch(/it ran out of memory/)
    abort.abort()
    await answer
  })
})
