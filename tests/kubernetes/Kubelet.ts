/**
 * The kubelet of one Pod, played by the tests: the Pod as the server has it, and what it says, done on this machine with the
 * files and the environment that the cluster holds, and nothing else.
 *
 * @module
 */
import { spawn, spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect } from "vitest"
import * as Names from "../../src/backends/kubernetes/Names.ts"
import { cli } from "../support/MillraceProcess.ts"
import * as Admin from "./Admin.ts"

type AdminClient = Awaited<ReturnType<typeof Admin.open>>

const paths = Names.pathsOf(Admin.namespace)

export interface Container {
  readonly name: string
  readonly image: string
  readonly command: ReadonlyArray<string>
  readonly env?: ReadonlyArray<{
    readonly name: string
    readonly valueFrom: { readonly secretKeyRef: { readonly name: string; readonly key: string } }
  }>
}

export interface ServerPod {
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> }
  readonly spec: {
    readonly initContainers: ReadonlyArray<Container>
    readonly containers: ReadonlyArray<Container & { readonly workingDir: string }>
    readonly volumes: ReadonlyArray<{ readonly name: string; readonly configMap?: { readonly name: string } }>
  }
}

/** Of all that there are, those of this function. */
export const podsOf = async (admin: AdminClient, functionName: string): Promise<ReadonlyArray<ServerPod>> => {
  const { items } = (await admin.call({ method: "GET", path: paths.requests })) as {
    readonly items: ReadonlyArray<{
      readonly metadata: { readonly name: string }
      readonly spec: { functionName: string }
    }>
  }
  const names = items.filter(({ spec }) => spec.functionName === functionName).map(({ metadata }) => metadata.name)
  const pods = await Promise.all(
    names.map((name) => admin.find({ method: "GET", path: `${paths.pods}/${Names.podName(name)}` }))
  )
  // What the server answers for a Pod that is there.
  return pods.flatMap((pod) => (pod === undefined ? [] : [pod as ServerPod]))
}

const environmentOf = async (admin: AdminClient, container: Container | undefined) => {
  const environment: Record<string, string> = {}
  for (const { name, valueFrom } of container?.env ?? []) {
    const secret = (await admin.call({ method: "GET", path: `${paths.secrets}/${valueFrom.secretKeyRef.name}` })) as {
      readonly data: Readonly<Record<string, string>>
    }
    environment[name] = Buffer.from(secret.data[valueFrom.secretKeyRef.key] ?? "", "base64").toString()
  }
  return environment
}

/** A container whose command is `millrace`; `addressOf`: where what it forwards to is here, by what it is told. */
export const runMillraceHere = async (
  admin: AdminClient,
  container: Container | undefined,
  addressOf: Readonly<Record<string, string>>
) => {
  const [program, ...words] = container?.command ?? []
  expect(program).toBe("millrace")
  const args = words.map((word) => addressOf[word] ?? word)
  return spawn(process.execPath, [...cli, ...args], { env: await environmentOf(admin, container), stdio: "inherit" })
}

/** What a kubelet and a container runtime would do, with `/app` below `home`. Whoever calls ends the child. */
export const runHere = async (admin: AdminClient, pod: ServerPod, home: string) => {
  const [container] = pod.spec.containers
  const [unpack] = pod.spec.initContainers
  const bundle = pod.spec.volumes.find(({ name }) => name === "function-bundle")?.configMap?.name
  const configMap = (await admin.call({ method: "GET", path: `${paths.configMaps}/${bundle}` })) as {
    readonly binaryData: Readonly<Record<string, string>>
  }
  const [, flag = "", program = "", from = ""] = unpack?.command ?? []
  const file = join(home, "bundle.gz")
  writeFileSync(file, Buffer.from(configMap.binaryData[from.split("/").at(-1) ?? ""] ?? "", "base64"))
  expect(spawnSync(process.execPath, [flag, program, file, join(home, "app")]).status).toBe(0)
  const environment = await environmentOf(admin, container)
  const inside = (path: string) => path.replace(/^\/app/, join(home, "app"))
  const [, ...args] = container?.command ?? []
  const child = spawn(process.execPath, args.map(inside), {
    cwd: inside(container?.workingDir ?? ""),
    env: environment,
    stdio: "inherit"
  })
  return { environment, child }
}
