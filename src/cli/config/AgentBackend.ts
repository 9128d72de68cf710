/**
 * The backend of `millrace serve agent`, out of its settings: which settings belong to which backend, what each must say, and
 * the choice that follows. Changing `agent.backend` alone is enough where the others need nothing.
 *
 * @module
 */
import { join, resolve } from "node:path"
import * as GpuKinds from "../../core/simulation/GpuKinds.ts"
import * as StartModel from "../../core/simulation/StartModel.ts"
import type { BackendChoice } from "../backend/BackendChoice.ts"
import type { ServeConfig } from "./ServeConfig.ts"

type Kind = BackendChoice["kind"]

/** Settings of one backend alone. */
const owners: Readonly<Record<string, Kind>> = {
  "agent.isolation": "process",
  "agent.gpu": "simulated",
  "agent.startModel": "simulated",
  "agent.dockerImage": "docker",
  "agent.image": "kubernetes",
  "agent.namespace": "kubernetes",
  "agent.workerImage": "kubernetes",
  "agent.charts": "kubernetes",
  "agent.kubeconfig": "kubernetes"
}

export interface Problem {
  readonly path: string
  readonly problem: string
}

/** `isSaid`: by the file or the command line, for these services; a variable may be there for other programs. */
export const problems = (config: ServeConfig, isSaid: (path: string) => boolean): ReadonlyArray<Problem> => {
  const { backend, gpu, workerUrl } = config.agent
  const foreign = Object.entries(owners).flatMap(
    ([path, owner]): ReadonlyArray<Problem> =>
      owner === backend || !isSaid(path)
        ? []
        : [
            {
              path,
              problem: `it belongs to the backend ${owner}, and agent.backend is ${backend}: write "agent.backend": "${owner}", or leave it out`
            }
          ]
  )
  const gpus = backend !== "simulated" || gpu === undefined ? [] : GpuKinds.parseCluster(gpu)
  return [
    ...foreign,
    ...(typeof gpus === "string" ? [{ path: "agent.gpu", problem: gpus }] : []),
    ...workerUrlProblems(config, workerUrl)
  ]
}

const workerUrlProblems = (config: ServeConfig, workerUrl: string | undefined): ReadonlyArray<Problem> => {
  const path = "agent.workerUrl"
  if (workerUrl === undefined) return []
  const isSocket = workerUrl.startsWith("unix:")
  if (config.agent.backend === "kubernetes" && isSocket) {
    const problem = `a Pod cannot reach ${workerUrl}: write an address that Pods reach, such as ws://10.0.0.7:8789`
    return [{ path, problem }]
  }
  const sockets = `unix:${socketDirectoryOf(config)}/`
  if (config.agent.backend !== "docker" || workerUrl.startsWith(sockets)) return []
  const problem =
    `containers have no network and are given ${socketDirectoryOf(config)} alone: leave it out, and give the invocation ` +
    `plane of this machine "invocation.workerSocket": "${socketOf(config)}"`
  return [{ path, problem }]
}

const socketDirectoryOf = ({ state }: ServeConfig) => join(resolve(state), "workers")
const socketOf = (config: ServeConfig) => join(socketDirectoryOf(config), "worker.sock")

/** Of settings without `problems`. */
export const choiceOf = ({ agent }: ServeConfig): BackendChoice => {
  switch (agent.backend) {
    case "process":
      return { kind: "process", isolation: agent.isolation === "bubblewrap" ? "bubblewrap" : "none" }
    case "docker":
      return { kind: "docker", baseImage: agent.dockerImage }
    case "kubernetes": {
      const { image, namespace, workerImage, kubeconfig, cluster, region } = agent
      const charts = agent.charts === "on"
      // Named by the setting and not by a folder: agents of one cluster may be on several machines.
      return { kind: "kubernetes", image, namespace, workerImage, charts, kubeconfig, cluster, region }
    }
    case "simulated": {
      const gpus = agent.gpu === undefined ? [] : GpuKinds.parseCluster(agent.gpu)
      const gpuStart = agent.startModel === undefined ? undefined : StartModel.byName(agent.startModel)
      return { kind: "simulated", gpus: typeof gpus === "string" ? [] : gpus, gpuStart }
    }
  }
}

/**
 * Why instances cannot connect at the address that an invocation plane says of itself; undefined = they may. One that
 * `agent.workerUrl` gives is the operator's to know.
 */
export const whyUnreachable = ({ agent }: ServeConfig, announced: string): string | undefined =>
  agent.backend === "kubernetes" && announced.split(",").every(isOfThisMachine)
    ? `Pods cannot reach ${announced}, which the invocation plane says of itself: set agent.workerUrl, or invocation.workerUrl there`
    : undefined

const isOfThisMachine = (url: string): boolean =>
  url.startsWith("unix:") || /^\w+:\/\/(?:127\.|localhost[:/]|\[::1\])/.test(url)
