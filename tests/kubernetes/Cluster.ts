/**
 * A real Kubernetes control plane for tests, with nodes and pod life cycles by KWOK: nothing runs in a pod, everything else
 * is what a cluster does. All on loopback, in a folder of its own, ended by pid.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { generateKeyPairSync, randomBytes } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import type { IncomingMessage } from "node:http"
import * as http from "node:http"
import * as https from "node:https"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Binaries } from "./Binaries.ts"

export interface Cluster {
  /** Of an administrator. */
  readonly kubeconfig: string
  /** Ends one of its programs with SIGKILL, to be started again by `start`. */
  readonly kill: (program: Program) => Promise<void>
  readonly start: (program: Program) => Promise<void>
  readonly signal: (program: Program, signal: NodeJS.Signals) => void
  readonly stop: () => Promise<void>
}

export type Program = "etcd" | "apiserver" | "scheduler" | "controller-manager" | "kwok"

/** What the platform needs of the many controllers. */
const controllers = [
  "garbage-collector-controller",
  "namespace-controller",
  "serviceaccount-controller",
  "pod-garbage-collector-controller",
  "taint-eviction-controller",
  // A node is born with the taint that it is not ready; this one takes it off.
  "node-lifecycle-controller",
  "deployment-controller",
  "replicaset-controller"
]

const startDeadlineMs = 240_000
const stages = join(import.meta.dirname, "stages.yaml")

export const startCluster = async (binaries: Binaries): Promise<Cluster> => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-kubernetes-"))
  const file = (name: string) => join(directory, name)
  const [etcdPort = 0, peerPort = 0, apiPort = 0] = await freePorts(3)
  const token = randomBytes(16).toString("hex")
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" }
  })
  writeFileSync(file("accounts.key"), privateKey, { mode: 0o600 })
  writeFileSync(file("accounts.pub"), publicKey)
  writeFileSync(file("tokens.csv"), `${token},admin,admin,"system:masters"\n`, { mode: 0o600 })
  const server = `https://127.0.0.1:${apiPort}`
  writeFileSync(file("kubeconfig"), kubeconfigOf(server, token), { mode: 0o600 })

  const commands: Readonly<Record<Program, ReadonlyArray<string>>> = {
    etcd: [binaries.cluster, "etcd", file("etcd"), `http://127.0.0.1:${etcdPort}`, `http://127.0.0.1:${peerPort}`],
    apiserver: [
      binaries.cluster,
      "apiserver",
      `--etcd-servers=http://127.0.0.1:${etcdPort}`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      "--endpoint-reconciler-type=none",
      `--secure-port=${apiPort}`,
      `--cert-dir=${file("certificates")}`,
      "--authorization-mode=RBAC",
      `--token-auth-file=${file("tokens.csv")}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${file("accounts.pub")}`,
      `--service-account-signing-key-file=${file("accounts.key")}`,
      "--service-cluster-ip-range=10.0.0.0/24",
      "--profiling=false"
    ],
    scheduler: [
      binaries.cluster,
      "scheduler",
      `--kubeconfig=${file("kubeconfig")}`,
      "--leader-elect=false",
      "--secure-port=0"
    ],
    "controller-manager": [
      binaries.cluster,
      "controller-manager",
      `--kubeconfig=${file("kubeconfig")}`,
      "--leader-elect=false",
      "--secure-port=0",
      `--controllers=${controllers.join(",")}`,
      `--service-account-private-key-file=${file("accounts.key")}`
    ],
    kwok: await kwokCommand(binaries, file("kubeconfig"), directory)
  }
  const children = new Map<Program, Child>()

  // When the run is cut off (Ctrl-C) nobody waits for `stop`.
  const onExit = () => {
    for (const child of children.values()) child.process.kill("SIGKILL")
    rmSync(directory, { recursive: true, force: true })
  }
  process.once("exit", onExit)

  const start = async (program: Program): Promise<void> => {
    const child = startChild(commands[program])
    children.set(program, child)
    if (program === "etcd") await ready(`http://127.0.0.1:${etcdPort}/health`, child)
    if (program === "apiserver") await ready(`${server}/readyz`, child, token)
  }

  const end = async (program: Program, signal: NodeJS.Signals): Promise<void> => {
    const child = children.get(program)
    if (child === undefined) return
    child.process.kill("SIGCONT")
    child.process.kill(signal)
    const timer = setTimeout(() => child.process.kill("SIGKILL"), 5_000)
    await child.ended
    clearTimeout(timer)
    children.delete(program)
  }

  const stop = async (): Promise<void> => {
    await Promise.all((["kwok", "scheduler", "controller-manager"] as const).map((program) => end(program, "SIGTERM")))
    // It waits for its clients for a minute otherwise; the store is thrown away.
    await end("apiserver", "SIGKILL")
    await end("etcd", "SIGKILL")
    process.off("exit", onExit)
    rmSync(directory, { recursive: true, force: true })
  }

  try {
    await start("etcd")
    await start("apiserver")
    await Promise.all((["scheduler", "controller-manager", "kwok"] as const).map(start))
  } catch (error) {
    await stop()
    throw error
  }
  return {
    kubeconfig: file("kubeconfig"),
    start,
    stop,
    kill: (program) => end(program, "SIGKILL"),
    signal: (program, signal) => {
      children.get(program)?.process.kill(signal)
    }
  }
}

/** The kubelets of nodes with the annotation `kwok.x-k8s.io/node: fake`. Its files go into `directory`. */
export const kwokCommand = async (
  binaries: Binaries,
  kubeconfig: string,
  directory: string
): Promise<ReadonlyArray<string>> => {
  const [port = 0] = await freePorts(1)
  const output = join(directory, "output.log")
  // Of every pod, in the format of the container runtime interface: nothing runs that could print something else.
  const lines = ["up", "no", "said"].map((text) => `${new Date().toISOString()} stdout F ${text}\n`)
  writeFileSync(output, lines.join(""))
  const logs = {
    kind: "ClusterLogs",
    apiVersion: "kwok.x-k8s.io/v1alpha1",
    metadata: { name: "output" },
    spec: { logs: [{ logsFile: output, follow: true }] }
  }
  const config = join(directory, "kwok.yaml")
  writeFileSync(config, `${readFileSync(stages, "utf8")}---\n${JSON.stringify(logs)}\n`)
  return [
    binaries.kwok,
    `--config=${config}`,
    `--kubeconfig=${kubeconfig}`,
    "--manage-all-nodes=false",
    "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
    "--node-lease-duration-seconds=40",
    "--node-ip=127.0.0.1",
    `--node-port=${port}`,
    `--server-address=127.0.0.1:${port}`
  ]
}

/** KWOK alone, for a cluster that is there. */
export const startKwok = async (binaries: Binaries, kubeconfig: string, directory: string) => {
  const child = startChild(await kwokCommand(binaries, kubeconfig, directory))
  const stop = async () => {
    child.process.kill("SIGTERM")
    const timer = setTimeout(() => child.process.kill("SIGKILL"), 5_000)
    await child.ended
    clearTimeout(timer)
  }
  return { stop }
}

interface Child {
  readonly process: ChildProcess
  readonly ended: Promise<unknown>
  /** The end of what it said. */
  readonly output: () => string
}

const startChild = ([command = "", ...args]: ReadonlyArray<string>): Child => {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-4_000)
    })
  }
  return { process: child, ended: once(child, "exit"), output: () => output }
}

const ready = async (url: string, child: Child, token?: string): Promise<void> => {
  const untilMs = performance.now() + startDeadlineMs
  for (;;) {
    if (child.process.exitCode !== null) throw new Error(`it ended with ${child.process.exitCode}: ${child.output()}`)
    const seen = await statusOf(url, token)
    if (seen === 200) return
    if (performance.now() > untilMs) throw new Error(`${url}: ${seen} for too long: ${child.output()}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** A status, or why there is none. Its certificate is one that it has made for itself. */
const statusOf = (url: string, token?: string): Promise<number | string> =>
  new Promise((resolve) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const done = (response: IncomingMessage) => resolve(response.resume().statusCode ?? "no status")
    const request = url.startsWith("https:")
      ? https.get(url, { headers, rejectUnauthorized: false }, done)
      : http.get(url, { headers }, done)
    request.on("error", (error) => resolve(error.message))
    request.setTimeout(5_000, () => request.destroy(new Error("no answer")))
  })

const freePorts = async (count: number): Promise<ReadonlyArray<number>> => {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"))
  await Promise.all(servers.map((server) => once(server, "listening")))
  const ports = servers.map((server) => {
    const address = server.address()
    return typeof address === "object" && address !== null ? address.port : 0
  })
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

const kubeconfigOf = (server: string, token: string): string =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "test", cluster: { server, "insecure-skip-tls-verify": true } }],
    users: [{ name: "admin", user: { token } }],
    contexts: [{ name: "test", context: { cluster: "test", user: "admin" } }],
    "current-context": "test"
  })
