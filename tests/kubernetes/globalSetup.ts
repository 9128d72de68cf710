/**
 * One cluster for all suites: the one of `KUBECONFIG` when it is set, else one of our own, which is gone afterwards. KWOK
 * plays the nodes of both.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TestProject } from "vitest/node"
import * as Admin from "./Admin.ts"
import { buildBinaries } from "./Binaries.ts"
import { startCluster, startKwok } from "./Cluster.ts"

declare module "vitest" {
  export interface ProvidedContext {
    readonly kubeconfig: string
    readonly isOurs: boolean
    /** For files of the suites; gone with the cluster. */
    readonly directory: string
  }
}

export default async (project: TestProject): Promise<() => Promise<void>> => {
  const binaries = buildBinaries()
  const given = process.env["KUBECONFIG"]
  const directory = mkdtempSync(join(tmpdir(), "millrace-kubernetes-suites-"))
  const cluster = given === undefined ? await startCluster(binaries) : await startOn(given, binaries)
  const stop = async () => {
    await cluster.stop()
    rmSync(directory, { recursive: true, force: true })
  }
  const running = { kubeconfig: cluster.kubeconfig, stop }
  try {
    const admin = await Admin.open(running.kubeconfig)
    await admin.install()
  } catch (error) {
    await running.stop()
    throw error
  }
  project.provide("kubeconfig", running.kubeconfig)
  project.provide("isOurs", given === undefined)
  project.provide("directory", directory)
  return running.stop
}

const startOn = async (kubeconfig: string, binaries: ReturnType<typeof buildBinaries>) => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-kwok-"))
  const kwok = await startKwok(binaries, kubeconfig, directory)
  const stop = async () => {
    await kwok.stop()
    rmSync(directory, { recursive: true, force: true })
  }
  return { kubeconfig, stop }
}
