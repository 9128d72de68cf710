/**
 * Runs `dev` and `up`: flags and environment in, signals handled, an exit code out.
 *
 * @module
 */
import { resolve } from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Platform from "../../planes/Platform.ts"
import * as BackendChoice from "../backend/BackendChoice.ts"
import { CommandFailed, exitCodes, type Input, isSet, text, usageError } from "../Command.ts"
import * as DevSession from "./DevSession.ts"
import { fabricOf } from "./FabricFlags.ts"
import * as StateDirectory from "./StateDirectory.ts"

export const run = async (input: Input, watch: boolean): Promise<number> => {
  const { host, gatewayPort, controlPort, workerPort } = Platform.defaults
  const [directory] = input.positionals
  const backend = BackendChoice.of(input)
  const options: DevSession.DevOptions = {
    directory: directory === undefined ? (watch ? process.cwd() : undefined) : resolve(directory),
    watch,
    backend,
    json: isSet(input, "json") || !process.stdout.isTTY,
    platform: {
      ...Platform.defaults,
      host,
      stateDirectory: StateDirectory.of(input),
      gatewayPort: port(input, "port", "MILLRACE_PORT", gatewayPort),
      controlPort: port(input, "control-port", "MILLRACE_CONTROL_PORT", controlPort),
      workerPort: port(input, "worker-port", "MILLRACE_WORKER_PORT", workerPort),
      fabric: fabricOf(input),
      ...workerAddress(input, backend),
      deadLetters: retention(input, "dead-letter-retention", "MILLRACE_DEAD_LETTER_RETENTION")
    }
  }
  const sink: DevSession.LogSink = { write: (line) => void process.stderr.write(`${line}\n`) }
  const log = options.json ? Logger.map(Logger.formatLogFmt, (line) => sink.write(line)) : forPeople(sink)
  const fiber = Effect.runFork(DevSession.run(options, sink).pipe(Effect.provide(Logger.layer([log]))))
  const stop = onSignals(() => fiber.interruptUnsafe())
  const exit = await Effect.runPromise(Fiber.await(fiber))
  stop()
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return exitCodes.ok
  throw failureOf(Cause.squash(exit.cause))
}

/** The store, a port, a file that is wrong: known by their tag and told as they are. The rest is a defect, with its stack. */
export const failureOf = (error: unknown): unknown =>
  error instanceof Error && "_tag" in error && typeof error._tag === "string"
    ? new CommandFailed({ kind: error._tag, message: error.message })
    : error

const port = (input: Input, flag: string, variable: string, otherwise: number): number => {
  const given = text(input, flag) ?? process.env[variable]
  if (given === undefined || given === "") return otherwise
  const value = Number(given)
  if (!/^\d{1,5}$/.test(given) || value > 65_535) {
    throw usageError(`--${flag} (${variable}) is ${JSON.stringify(given)}; a port is a number from 0 to 65535`)
  }
  return value
}

const workerAddress = (input: Input, { kind }: BackendChoice.BackendChoice): { readonly workerAddress?: string } => {
  const given = text(input, "worker-address") ?? process.env["MILLRACE_WORKER_ADDRESS"]
  if (kind === "kubernetes" && !given) {
    throw usageError(
      "--backend kubernetes needs --worker-address HOST:PORT (MILLRACE_WORKER_ADDRESS): where Pods reach this machine's worker port"
    )
  }
  if (given === undefined || given === "") return {}
  if (!/^(?:\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/.test(given)) {
    throw usageError(
      `--worker-address (MILLRACE_WORKER_ADDRESS) is ${JSON.stringify(given)}; it is such as 10.0.0.7:8789, with the port`
    )
  }
  return { workerAddress: given }
}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

const retention = (input: Input, flag: string, variable: string): { readonly retentionMs?: number } => {
  const given = text(input, flag) ?? process.env[variable]
  if (given === undefined || given === "") return {}
  const [, count, unit] = /^([1-9]\d{0,5})([smhd])$/.exec(given) ?? []
  if (count === undefined || unit === undefined) {
    throw usageError(`--${flag} (${variable}) is ${JSON.stringify(given)}; a time is such as 90s, 30m, 12h or 7d`)
  }
  return { retentionMs: Number(count) * (unitMs[unit] ?? 0) }
}

/** The first signal drains; a second one means it. */
export const onSignals = (drain: () => void): (() => void) => {
  let asked = false
  const onSignal = () => {
    if (asked) process.exit(130)
    asked = true
    drain()
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  return () => {
    process.off("SIGINT", onSignal)
    process.off("SIGTERM", onSignal)
  }
}

/** On a terminal: the level and what was said, fields behind it; times are for files. */
export const forPeople = (sink: DevSession.LogSink) =>
  Logger.make(({ logLevel, message }) => {
    const parts = (Array.isArray(message) ? message : [message]).map((part: unknown) =>
      typeof part === "string" ? part : part instanceof Error ? part.message : JSON.stringify(part)
    )
    sink.write(`${logLevel.toLowerCase()}: ${parts.join(" ")}`)
  })
