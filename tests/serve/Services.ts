/**
 * The planes as real processes on one real nats-server: started, killed, paused and started again.
 *
 * @module
 */
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as RunningPlatform from "../../src/cli/RunningPlatform.ts"
import type { RunningNats } from "../services/RunningNats.ts"
import * as MillraceProcess from "../support/MillraceProcess.ts"
import { probe, root } from "../support/TestPlatform.ts"

export type PlaneName = "invocation" | "control" | "agent"

export interface Service extends MillraceProcess.MillraceProcess {
  readonly plane: PlaneName
  readonly health: string
  /** Of its `ready` line. */
  readonly facts: MillraceProcess.Line
  /** Status and reasons of `/readyz`. */
  readonly readyz: () => Promise<{ readonly status: number; readonly text: string }>
}

export interface Services {
  readonly folder: string
  readonly start: (
    plane: PlaneName,
    settings?: Readonly<Record<string, string>>,
    environment?: Readonly<Record<string, string>>
  ) => Promise<Service>
  /** One that must not begin: what it says when it ends. Rejects when it ends well. */
  readonly refused: (plane: PlaneName, settings: Readonly<Record<string, string>>) => Promise<string>
  /** One command of the CLI; answers what it printed. Rejects when it fails. */
  readonly cli: (control: Service, ...words: ReadonlyArray<string>) => Promise<string>
  /** Calls of the control API. */
  readonly api: (control: Service) => <A>(method: string, path: string) => Promise<A>
  /** One command that looks into the configuration, and at no plane. */
  readonly offline: (...words: ReadonlyArray<string>) => Promise<string>
  /** Folder of a function like `tests/functions/probe.ts`. */
  readonly functionFolder: (name: string, deployment?: Readonly<Record<string, unknown>>) => string
  readonly close: () => Promise<void>
}

export const readyz = async (health: string) => {
  const response = await fetch(`${health}/readyz`)
  return { status: response.status, text: await response.text() }
}

/** `prefix`: an installation of its own on the server. */
export const make = (nats: RunningNats, prefix: string): Services => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-serve-"))
  const running = new Set<MillraceProcess.MillraceProcess>()
  const file = join(folder, "millrace.config.json")
  writeFileSync(
    file,
    `{
      // One file for all planes.
      "nats": { "urls": ["${nats.url}"], "systemUrls": ["${nats.systemUrl}"], "prefix": "${prefix}" },
      "invocation": { "drainMs": 3000 },
    }`
  )
  const begin = (
    plane: PlaneName,
    settings: Readonly<Record<string, string>>,
    environment?: Readonly<Record<string, string>>
  ) => {
    const set = Object.entries({ state: join(folder, plane), "health.port": "0", ...settings })
    const words = ["serve", plane, "--config", file, ...set.flatMap(([path, value]) => ["--set", `${path}=${value}`])]
    const child = MillraceProcess.start(words, { ...environment })
    running.add(child)
    return child
  }
  const start: Services["start"] = async (plane, settings = {}, environment) => {
    const child = begin(plane, settings, environment)
    const facts = await child.line(`serve ${plane} is ready`, ({ event }) => event === "ready", 30_000)
    const health = String(facts["health"])
    return { ...child, plane, facts, health, readyz: () => readyz(health) }
  }
  const millrace = (args: ReadonlyArray<string>, environment: Readonly<Record<string, string>> = {}) =>
    new Promise<string>((resolve, reject) => {
      const env = { ...process.env, ...environment }
      execFile(process.execPath, [...MillraceProcess.cli, ...args], { env, cwd: root }, (error, stdout, stderr) =>
        error === null ? resolve(stdout) : reject(new Error(`millrace ${args.join(" ")}: ${stderr}`))
      )
    })
  return {
    folder,
    start,
    refused: async (plane, settings) => {
      const child = begin(plane, settings)
      const { code } = await child.exited
      if (code === 0 || code === null) throw new Error(`serve ${plane} was not refused: ${JSON.stringify(child.lines)}`)
      return child.stderr()
    },
    cli: (control, ...words) =>
      millrace([...words, "--url", String(control.facts["control"])], { MILLRACE_STATE: join(folder, "control") }),
    api: (control) => {
      const platform = RunningPlatform.find({
        positionals: [],
        rest: [],
        values: { url: String(control.facts["control"]), state: join(folder, "control") }
      })
      return (method, path) => RunningPlatform.api(platform, method, path)
    },
    offline: (...words) => millrace([...words, "--config", file, "--set", `state=${join(folder, "invocation")}`]),
    functionFolder: (name, deployment = {}) => {
      const directory = join(folder, "functions", name)
      mkdirSync(directory, { recursive: true })
      const content = {
        name,
        command: ["node", probe],
        deployment: { idleWindowMs: 60_000, graceMs: 2_000, ...deployment }
      }
      writeFileSync(join(directory, "millrace.json"), JSON.stringify(content))
      return directory
    },
    close: async () => {
      await Promise.all(
        [...running].map(async (child) => {
          child.child.kill("SIGCONT")
          child.child.kill("SIGKILL")
          await child.exited
        })
      )
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** Instances that live, as the control API tells. */
export const instances = async (services: Services, control: Service) => {
  // The CLI prints what the API answered: reports of instances.
  const all = JSON.parse(await services.cli(control, "instances", "--json")) as ReadonlyArray<{
    readonly instanceId: string
    readonly state: string
    readonly cluster: string
    readonly pid: number | null
  }>
  return all
}
