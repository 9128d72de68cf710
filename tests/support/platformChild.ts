/**
 * A whole platform in a process of its own, to be killed: `node platformChild.ts STATE_DIRECTORY`. Prints one line of
 * JSON with its addresses and the functions that it serves, and ends when it is told to (SIGTERM) or killed.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import type { TestFunction } from "./TestPlatform.ts"

export interface PlatformChild {
  readonly gatewayUrl: string
  readonly recordsReplayed: number
  readonly functions: Readonly<Record<string, TestFunction>>
  readonly pid: number
  /** As the kernel would, without a word to the process. */
  readonly kill: () => Promise<void>
  readonly stop: () => Promise<void>
}

const ended = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit")
}

/** Starts the platform on this state directory; a second start finds what the first one left. */
export const startChild = async (stateDirectory: string): Promise<PlatformChild> => {
  const child = spawn(process.execPath, ["--conditions=millrace-source", import.meta.filename, stateDirectory], {
    stdio: ["ignore", "pipe", "pipe"]
  })
  let said = ""
  child.stderr.on("data", (bytes: Buffer) => {
    said += bytes.toString("utf8")
  })
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (text) => {
      if (text.startsWith("{")) resolve(text)
      else said += `${text}\n`
    })
    child.on("exit", (code) => reject(new Error(`the platform ended with ${code} before it was ready: ${said}`)))
  })
  return {
    // Written by `main` below.
    ...(JSON.parse(line) as Pick<PlatformChild, "gatewayUrl" | "recordsReplayed" | "functions" | "pid">),
    kill: async () => {
      child.kill("SIGKILL")
      await ended(child)
    },
    stop: async () => {
      child.kill("SIGTERM")
      await ended(child)
    }
  }
}

const main = async (stateDirectory: string): Promise<void> => {
  const { start, probe } = await import("./TestPlatform.ts")
  const { defaultTenant } = await import("../../src/planes/control/Registry.ts")
  const { join } = await import("node:path")
  const peculiar = join(import.meta.dirname, "../platform/support/peculiar.ts")
  const test = await start({ stateDirectory })
  const { platform } = test
  const found = platform.registry.listFunctions({ tenant: defaultTenant, limit: 10 })
  const functions: Record<string, TestFunction> = {}
  for (const { id, name, activeVersionId } of found.items) {
    functions[name] = {
      name,
      functionId: id,
      versionId: String(activeVersionId),
      url: `${platform.gatewayUrl}/f/${name}`
    }
  }
  functions["probe"] ??= await test.deploy("probe", {}, { command: ["node", probe] })
  functions["peculiar"] ??= await test.deploy("peculiar", {}, { command: ["node", peculiar] })
  process.on("SIGTERM", () => void test.close({ keep: true }).then(() => process.exit(0)))
  const { gatewayUrl, recordsReplayed } = platform
  console.log(JSON.stringify({ gatewayUrl, recordsReplayed, functions, pid: process.pid }))
}

const [, script, stateDirectory] = process.argv
if (script === import.meta.filename && stateDirectory !== undefined) await main(stateDirectory)
