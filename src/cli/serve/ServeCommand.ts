/** `millrace serve`: one plane as a process of its own. @module */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import { exitCodes, type Input, isSet, usageError } from "../Command.ts"
import * as ConfigFile from "../config/ConfigFile.ts"
import type { ServeConfig } from "../config/ServeConfig.ts"
import * as DevCommand from "../dev/DevCommand.ts"
import * as StateDirectory from "../dev/StateDirectory.ts"
import * as Service from "./Service.ts"

/** Loaded when it is asked for: each brings its own half of Millrace. */
const serve = async (
  plane: Service.PlaneName,
  config: ServeConfig,
  isDraining: () => boolean
): Promise<Effect.Effect<void, unknown>> => {
  const options = { config, plane, isDraining }
  switch (plane) {
    case "invocation":
      return Service.run(options, (await import("./InvocationService.ts")).service)
    case "control":
      return Service.run(options, (await import("./ControlService.ts")).service)
    case "agent":
      return Service.run(options, (await import("./AgentService.ts")).service)
  }
}

const isPlane = (word: string | undefined): word is Service.PlaneName =>
  word === "invocation" || word === "control" || word === "agent"

/** One JSON line each, between the events. */
const jsonLog = Logger.map(Logger.formatStructured, ({ level, message, annotations, cause }) => {
  const line = {
    at: new Date().toISOString(),
    event: "log",
    level: level.toLowerCase(),
    message,
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    ...(cause === undefined ? {} : { cause })
  }
  process.stdout.write(`${JSON.stringify(line)}\n`)
})

export const run = async (input: Input): Promise<number> => {
  const [plane] = input.positionals
  if (!isPlane(plane)) throw usageError("say which plane: millrace serve invocation, control or agent")
  const { config } = ConfigFile.load(input)
  if (config.nats.urls.length === 0) {
    throw usageError("nats.urls says nothing: planes that run apart need NATS (MILLRACE_NATS_URL, or in the file)")
  }
  const log =
    isSet(input, "json") || !process.stdout.isTTY
      ? jsonLog
      : DevCommand.forPeople({ write: (line) => void process.stderr.write(`${line}\n`) })
  StateDirectory.reuseCompiled(config.state)
  let isDraining = false
  const program = await serve(plane, config, () => isDraining)
  const fiber = Effect.runFork(program.pipe(Effect.provide(Logger.layer([log]))))
  const stop = DevCommand.onSignals(() => {
    isDraining = true
    fiber.interruptUnsafe()
  })
  const exit = await Effect.runPromise(Fiber.await(fiber))
  stop()
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return exitCodes.ok
  throw DevCommand.failureOf(Cause.squash(exit.cause))
}
