/**
 * The two commands that run Millrace itself, for the table of commands; their code loads when they run.
 *
 * @module
 */
import type { Command, Flag, Input } from "../Command.ts"
import { flags as fabricFlags } from "./FabricFlags.ts"
import * as StateDirectory from "./StateDirectory.ts"

const flags: ReadonlyArray<Flag> = [
  { name: "port", value: "PORT", about: "gateway, where callers come in (MILLRACE_PORT, default 8787; 0 = any free)" },
  { name: "control-port", value: "PORT", about: "control API (MILLRACE_CONTROL_PORT, default 8788)" },
  { name: "worker-port", value: "PORT", about: "where instances connect (MILLRACE_WORKER_PORT, default 8789)" },
  { name: "state", value: "DIR", about: "everything that survives a restart (MILLRACE_STATE, default .millrace)" },
  {
    name: "dead-letter-retention",
    value: "TIME",
    about: "how long dead letters are kept: 90s, 30m, 12h or 7d (MILLRACE_DEAD_LETTER_RETENTION, default 7d)"
  },
  {
    name: "backend",
    value: "NAME",
    about: "where instances run: process, simulated, docker or kubernetes (MILLRACE_BACKEND, default process)"
  },
  {
    name: "isolation",
    value: "NAME",
    about: "of processes: none or bubblewrap (MILLRACE_ISOLATION, default none)"
  },
  {
    name: "docker-image",
    value: "IMAGE",
    about: "base of functions in containers, with Node (MILLRACE_DOCKER_IMAGE, default: made of this machine's Node)"
  },
  {
    name: "image",
    value: "IMAGE",
    about: "on Kubernetes, for functions without an image: one with Node 22.18 or later (MILLRACE_IMAGE)"
  },
  {
    name: "namespace",
    value: "NAME",
    about: "on Kubernetes, where everything of Millrace's is (MILLRACE_NAMESPACE, default millrace)"
  },
  {
    name: "worker-image",
    value: "IMAGE",
    about: "on Kubernetes, beside charts and servers with a health path: one with millrace (MILLRACE_WORKER_IMAGE)"
  },
  {
    name: "charts",
    about: "on Kubernetes, carry out charts: deploy/kubernetes/mini-services.yaml is applied (MILLRACE_CHARTS=on)"
  },
  {
    name: "worker-address",
    value: "HOST:PORT",
    about:
      "on Kubernetes, where Pods reach the worker port, which then listens on all addresses (MILLRACE_WORKER_ADDRESS)"
  },
  {
    name: "gpu",
    value: "CLUSTER",
    about: "simulated GPUs: h100x8x4 is four nodes of eight H100; several kinds with commas"
  },
  {
    name: "start-model",
    value: "NAME",
    about: "how long instances with a simulated GPU take: process, lora, base-model or container (default: process)"
  },
  ...fabricFlags
]

const load = (watch: boolean) => async () => ({
  run: async (input: Input) => {
    StateDirectory.reuseCompiled(StateDirectory.of(input))
    const { run } = await import("./DevCommand.ts")
    return run(input, watch)
  }
})

export const devCommand: Command = {
  name: "dev",
  usage: "[dir]",
  about: "run the functions of a directory, from zero, and take in every save",
  details: [
    "Starts the three planes, the embedded store and one agent with its backend in this process. [dir] has a",
    "millrace.json, or folders that have one; default: the current directory. Nothing runs until the first call.",
    "On a terminal it keeps a live view; otherwise, and with --json, it prints one JSON line an event."
  ],
  flags,
  example: "millrace dev examples",
  positionalsMax: 1,
  load: load(true)
}

export const upCommand: Command = {
  name: "up",
  usage: "[dir]",
  about: "the same without watching files; without a directory it runs what was deployed",
  details: ["What was deployed before, accepted requests and kept results come from the state directory."],
  flags,
  example: "millrace up --state /var/lib/millrace",
  positionalsMax: 1,
  load: load(false)
}
