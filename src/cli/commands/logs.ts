/** `millrace logs`. @module */
import type { LogLine } from "../../planes/control/ControlViews.ts"
import { CommandFailed, exitCodes, type Input, isSet, required } from "../Command.ts"
import * as Output from "../Output.ts"
import * as Platform from "../RunningPlatform.ts"

/** The last letters tell the instances of one function apart. */
const shortId = (instanceId: string) => instanceId.slice(-8)

const print = (line: LogLine, json: boolean) => {
  if (json) return Output.line(JSON.stringify(line))
  const time = new Date(line.atMs).toISOString().slice(11, 23)
  // The text itself is the function's own, colours and all.
  const stream = line.stream === "stdout" ? " " : line.stream === "stderr" ? "!" : "*"
  Output.line(`${time} ${Output.plain(shortId(line.instanceId))} ${stream} ${line.text}`)
}

/** A function by this name, else an instance. */
const pathOf = async (platform: Platform.RunningPlatform, target: string): Promise<string> => {
  const path = `/v1/functions/${encodeURIComponent(target)}`
  try {
    await Platform.api(platform, "GET", path)
    return `${path}/logs`
  } catch (error) {
    if (!(error instanceof CommandFailed) || error.kind !== "function-not-found") throw error
  }
  const instance = `/v1/instances/${encodeURIComponent(target)}`
  try {
    await Platform.api(platform, "GET", instance)
    return `${instance}/logs`
  } catch (error) {
    if (!(error instanceof CommandFailed) || error.kind !== "instance-not-found") throw error
    throw new CommandFailed({
      kind: "not-found",
      message: `${target} is neither a function nor an instance: see \`millrace functions\` and \`millrace instances\``
    })
  }
}

export const run = async (input: Input): Promise<number> => {
  const target = required(input, 0, "the name of a function or the id of an instance")
  const platform = Platform.find(input)
  const path = await pathOf(platform, target)
  const json = isSet(input, "json")
  if (isSet(input, "follow")) {
    const onLine = (line: string) => print(JSON.parse(line), json)
    await Platform.follow(platform, `${path}?follow=true`, onLine, Platform.untilInterrupted())
    return exitCodes.ok
  }
  const { items } = await Platform.api<{ readonly items: ReadonlyArray<LogLine> }>(platform, "GET", path)
  for (const line of items) print(line, json)
  return exitCodes.ok
}
