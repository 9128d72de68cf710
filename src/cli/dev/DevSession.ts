/**
 * `millrace dev` and `millrace up`: the whole platform in this process, with the functions of a directory.
 *
 * @module
 */
import { existsSync, readdirSync } from "node:fs"
import { join, relative } from "node:path"
import * as Effect from "effect/Effect"
import { defaultTenant } from "../../planes/control/Registry.ts"
import * as Platform from "../../planes/Platform.ts"
import * as BackendChoice from "../backend/BackendChoice.ts"
import * as FunctionFile from "../FunctionFile.ts"
import * as EventLines from "./EventLines.ts"
import { type RegisteredFunction, register } from "./FunctionRegistrar.ts"
import * as LiveView from "./LiveView.ts"
import { SourceWatcher } from "./SourceWatcher.ts"

export interface DevOptions {
  /** A directory with a `millrace.json`, or one whose folders have one. */
  readonly directory: string | undefined
  readonly watch: boolean
  /** One JSON line an event instead of the live view. */
  readonly json: boolean
  readonly backend: BackendChoice.BackendChoice
  readonly platform: Platform.PlatformOptions
}

/** Where log lines go: standard error, or above the live view while there is one. */
export interface LogSink {
  write: (line: string) => void
}

/** Runs until it is interrupted; then drains. */
export const run = Effect.fnUntraced(function* (options: DevOptions, sink: LogSink) {
  const startedMs = performance.now()
  const watchers = new Map<string, SourceWatcher>()
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const watcher of watchers.values()) watcher.close()
    })
  )
  const { files, skipped } = yield* discover(options.directory)
  const workerSocket = BackendChoice.workerSocketOf(options.backend, options.platform.stateDirectory)
  const platform = yield* Platform.start(
    {
      ...options.platform,
      ...(workerSocket === undefined ? {} : { workerSocket }),
      beforeCall: (functionName) => watchers.get(functionName)?.check()
    },
    BackendChoice.layer(options.backend, options.platform.stateDirectory)
  )
  const registered = yield* Effect.forEach(files, (file) => register(platform.registry, file))
  yield* undeployReplaced(platform, registered)

  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const output = yield* present(options, platform, registered, sink)
  if (options.watch) {
    for (const { file, version } of registered) {
      const restart = () => {
        output.saved(file.name)
        runFork(
          platform.restart(version.id).pipe(
            Effect.tapCause((cause) => Effect.logError(cause)),
            Effect.ignore
          )
        )
      }
      watchers.set(file.name, new SourceWatcher(file.directory, restart))
    }
  }
  output.ready(performance.now() - startedMs, skipped)
  return yield* Effect.never
}, Effect.scoped)

interface Skipped {
  readonly directory: string
  readonly why: string
}

const discover = Effect.fnUntraced(function* (directory: string | undefined) {
  const skipped: Array<Skipped> = []
  if (directory === undefined) return { files: [], skipped }
  const candidates = existsSync(join(directory, FunctionFile.fileName))
    ? [directory]
    : readdirSync(directory, { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && existsSync(join(directory, entry.name, FunctionFile.fileName)))
        .map((entry) => join(directory, entry.name))
        .sort()
  const files: Array<FunctionFile.FunctionFile> = []
  for (const candidate of candidates) {
    // A function with packages of its own can only start once they are there.
    if (existsSync(join(candidate, "package-lock.json")) && !existsSync(join(candidate, "node_modules"))) {
      const shown = relative(process.cwd(), candidate) || "."
      skipped.push({
        directory: shown,
        why: `its packages are not installed: npm ci --ignore-scripts --prefix ${shown}`
      })
      continue
    }
    files.push(yield* FunctionFile.load(candidate))
  }
  return { files, skipped }
})

/** A version that a changed file replaced goes, unless requests of an earlier run still wait for it. */
const undeployReplaced = (platform: Platform.Platform, registered: ReadonlyArray<RegisteredFunction>) =>
  Effect.forEach(registered, ({ replacedVersionId }) => {
    if (replacedVersionId === undefined) return Effect.void
    const waiting = platform.directory
      .backlog()
      .some(({ versionId, pending, leased }) => versionId === replacedVersionId && pending + leased > 0)
    return waiting ? Effect.void : platform.registry.undeploy(defaultTenant, replacedVersionId)
  })

interface Output {
  readonly ready: (readyMs: number, skipped: ReadonlyArray<Skipped>) => void
  readonly saved: (name: string) => void
}

const present = (
  options: DevOptions,
  platform: Platform.Platform,
  registered: ReadonlyArray<RegisteredFunction>,
  sink: LogSink
) => (options.json ? presentLines(platform, registered) : presentLive(options, platform, registered, sink))

const urlOf = (platform: Platform.Platform, name: string) => `${platform.gatewayUrl}/f/${name}/`
const curlOf = (platform: Platform.Platform, { file }: RegisteredFunction) =>
  file.curl === undefined
    ? `curl ${urlOf(platform, file.name)}`
    : file.curl.replaceAll("{url}", urlOf(platform, file.name).replace(/\/$/, ""))

const presentLines = (platform: Platform.Platform, registered: ReadonlyArray<RegisteredFunction>) =>
  Effect.gen(function* () {
    const stopInstances = platform.control.onInstance((instance) => {
      const { instanceId, versionId, state, phase, detail } = instance
      EventLines.write({ event: "instance", instanceId, versionId, state, phase, detail })
    })
    const stopDecisions = platform.control.onDecision(({ versionId, from, to, policy, reason }) =>
      EventLines.write({ event: "decision", versionId, from, to, policy, reason })
    )
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        stopInstances()
        stopDecisions()
        EventLines.write({ event: "stopping" })
      })
    )
    const output: Output = {
      saved: (name) => EventLines.write({ event: "saved", function: name }),
      ready: (readyMs, skipped) => {
        for (const { directory, why } of skipped) EventLines.write({ event: "skipped", directory, why })
        for (const entry of registered) {
          EventLines.write({
            event: "function",
            name: entry.file.name,
            functionId: entry.record.id,
            versionId: entry.version.id,
            url: urlOf(platform, entry.file.name),
            curl: curlOf(platform, entry)
          })
        }
        EventLines.write({
          event: "ready",
          gateway: platform.gatewayUrl,
          control: platform.controlUrl,
          worker: platform.workerUrl,
          isolation: platform.backend.isolation,
          requestsFound: platform.recordsReplayed,
          readyMs: Math.round(readyMs)
        })
      }
    }
    return output
  })

const presentLive = (
  options: DevOptions,
  platform: Platform.Platform,
  registered: ReadonlyArray<RegisteredFunction>,
  sink: LogSink
) =>
  Effect.gen(function* () {
    const { write } = sink
    let view: ReturnType<typeof LiveView.start> | undefined
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        view?.stop()
        sink.write = write
        process.stdout.write("stopping: calls in flight finish, instances drain\n")
      })
    )
    const functions = registered.map(({ file, version }) => ({ name: file.name, versionId: version.id }))
    const output: Output = {
      saved: (name) => view?.print(`${name} was saved: the next call runs the new code`),
      ready: (readyMs, skipped) => {
        const rows = [
          `Millrace is ready in ${Math.round(readyMs)} ms, with its state in ${options.platform.stateDirectory}`,
          `  gateway  ${platform.gatewayUrl}`,
          `  control  ${platform.controlUrl}/docs`,
          "",
          ...registered.map((entry) => `  ${entry.file.name.padEnd(12)} ${curlOf(platform, entry)}`),
          ...skipped.map(({ directory, why }) => `  ${directory} is left out: ${why}`),
          ""
        ]
        process.stdout.write(`${rows.join("\n")}\n`)
        view = LiveView.start(process.stdout, () => functions, platform.control, platform.directory)
        sink.write = view.print
      }
    }
    return output
  })
