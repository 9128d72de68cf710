/**
 * @module
 */
import { KubeConfig } from "@kubernetes/client-node"

/** The address of the API server that a kubeconfig file leads to. */
export const serverOf = (kubeconfig: string): string => {
  const config = new KubeConfig()
  config.loadFromFile(kubeconfig)
  const server = config.getCurrentCluster()?.server
  if (server === undefined) throw new Error(`${kubeconfig} names no current cluster`)
  return server
}
