/**
 * What the law suites of the fabric need of one maker of it, and how they open, close and kill it.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import type { Fabric } from "../../src/planes/fabric/EmbeddedFabric.ts"

/** Where a fabric keeps its state: a folder, or the address of a server and a prefix. */
export interface FabricPlace {
  readonly address: string
  readonly remove: () => Promise<void>
}

/** What the module of a maker exports. */
export interface MakerModule {
  readonly layer: (address: string) => Layer.Layer<Fabric, unknown>
}

export interface FabricMaker {
  readonly name: string
  /** Loaded by child processes too, so that they can be killed. */
  readonly module: URL
  readonly layer: MakerModule["layer"]
  readonly makePlace: () => Promise<FabricPlace>
}

export interface OpenFabric {
  readonly run: <A, E>(effect: Effect.Effect<A, E, Fabric>) => Promise<A>
  readonly close: () => Promise<void>
}

export const open = async (maker: FabricMaker, place: FabricPlace): Promise<OpenFabric> => {
  // The suites make callbacks throw on purpose, and what a maker logs about that would bury a real failure.
  const runtime = ManagedRuntime.make(Layer.provide(maker.layer(place.address), Logger.layer([])))
  // Built here and not at the first use, so that a failure to open is reported where it happened.
  await runtime.context()
  return { run: (effect) => runtime.runPromise(effect), close: () => runtime.dispose() }
}

/** Opens, runs, closes. */
export const using = async <A>(
  maker: FabricMaker,
  place: FabricPlace,
  body: (fabric: OpenFabric) => Promise<A>
): Promise<A> => {
  const fabric = await open(maker, place)
  try {
    return await body(fabric)
  } finally {
    await fabric.close()
  }
}

export const withPlace = async (maker: FabricMaker, body: (place: FabricPlace) => Promise<void>): Promise<void> => {
  const place = await maker.makePlace()
  try {
    await body(place)
  } finally {
    await place.remove()
  }
}

const deadlineMs = 60_000

/** Waits for a fact; when it does not come, says what was seen instead. */
export const eventually = async <A>(what: string, look: () => A, isTrue: (seen: A) => boolean): Promise<A> => {
  const endMs = performance.now() + deadlineMs
  let seen = look()
  while (!isTrue(seen)) {
    if (performance.now() > endMs) throw new Error(`${what} did not happen; seen: ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
    seen = look()
  }
  return seen
}

export type Scenario = "log" | "keyValue" | "workQueue" | "blobStore"

/** `honest` says what is durable; `early` says it before it is, which the checks must find. */
export type Honesty = "honest" | "early"

const killed = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    child.once("close", () => resolve())
    child.kill("SIGKILL")
  })

/**
 * Runs a process that writes and says what was confirmed, one line each, and kills it with SIGKILL in the middle.
 * Answers every line that it said.
 */
export const killWhileWriting = async (
  maker: FabricMaker,
  place: FabricPlace,
  options: { readonly scenario: Scenario; readonly honesty: Honesty; readonly seed: number; readonly lineCount: number }
): Promise<ReadonlyArray<string>> => {
  const script = fileURLToPath(new URL("./confirmingChild.ts", import.meta.url))
  const child = spawn(
    process.execPath,
    [script, maker.module.href, place.address, options.scenario, options.honesty, String(options.seed)],
    { stdio: ["ignore", "pipe", "pipe"] }
  )
  let output = ""
  let errors = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text
  })
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text
  })
  // The last piece is a line that was cut, or nothing.
  const lines = () => output.split("\n").slice(0, -1)
  try {
    await eventually(
      `${options.lineCount} confirmations`,
      () => ({ lines: lines().length, errors, exitCode: child.exitCode }),
      (seen) => seen.lines >= options.lineCount || seen.exitCode !== null
    )
    if (child.exitCode !== null) throw new Error(`the writing process ended by itself: ${errors}`)
  } finally {
    if (child.exitCode === null) await killed(child)
  }
  return lines()
}
