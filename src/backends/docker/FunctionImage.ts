/**
 * Images of functions that are a folder of this machine, for `millrace dev`: the base, a layer with the packages, which
 * seldom change, and a layer with the function's own files. Named by what is in them, so that a save makes one small
 * layer and a start without a change makes nothing. Older images of the same function go when a new one is made.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { dirname, posix, relative, sep } from "node:path"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { InstanceSpec } from "../ComputeBackend.ts"
import * as FunctionFiles from "../FunctionFiles.ts"
import { BadSpec, type LaunchError } from "../LaunchError.ts"
import * as BaseImage from "./BaseImage.ts"
import type { Pack } from "./Bring.ts"
import type { Asked, DockerClient } from "./DockerClient.ts"
import { launchFailure } from "./LaunchRefusal.ts"
import * as Tar from "./Tar.ts"

export interface Options {
  /** With a Node of 22.18 or later, and at the daemon already. Default: one made of the Node that runs Millrace. */
  readonly baseImage?: string | undefined
}

/** Where the function's files are inside, below it as here. */
export const root = "/app"

const label = "dev.millrace.function-image"
const repository = "millrace-function"

const pathInside = (from: string, path: string): string => posix.join(root, ...relative(from, path).split(sep))

const entriesOf = (from: string, items: ReadonlyArray<FunctionFiles.Item>): ReadonlyArray<Tar.TarEntry> => {
  const folders = new Set<string>([root.slice(1)])
  const files = items.map((item): Tar.TarEntry => {
    const path = pathInside(from, item.path).slice(1)
    for (let parent = dirname(path); parent !== "."; parent = dirname(parent)) folders.add(parent)
    if (item.target !== undefined) return { kind: "link", path, mode: 0o777, target: item.target }
    // Readable for the instance's user, whoever may read it here.
    const mode = (item.mode & 0o111) === 0 ? 0o644 : 0o755
    return { kind: "file", path, mode, source: item.path, size: item.size }
  })
  return [...[...folders].toSorted().map((path): Tar.TarEntry => ({ kind: "folder", path, mode: 0o755 })), ...files]
}

const hashOf = (below: string, from: string, items: ReadonlyArray<FunctionFiles.Item>): string => {
  const hash = createHash("sha256").update(below)
  for (const { path, mode, size, mtimeMs, target } of items.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
    hash.update(`${relative(from, path)}\0${mode}\0${size}\0${mtimeMs}\0${target}\0`)
  }
  return hash.digest("hex").slice(0, 16)
}

const badSpec = ({ instanceId }: InstanceSpec, field: string, detail: string) =>
  Effect.fail(new BadSpec({ instanceId, field, detail }))

/** One at a time: instances of one function that start together need one image. */
export const make = (options: Options = {}): Pack => {
  const one = Semaphore.makeUnsafe(1)

  const layer = (client: DockerClient, below: string, name: string, entries: ReadonlyArray<Tar.TarEntry>, of: string) =>
    Effect.flatMap(client.hasImage(name), (has) => {
      if (has) return Effect.void
      const [repo = "", tag = ""] = name.split(":")
      return Effect.acquireUseRelease(
        client.create({ Image: below, Cmd: ["/none"], NetworkDisabled: true }),
        (id) =>
          Effect.andThen(
            client.putArchive(id, Tar.pack(entries), "/"),
            client.commit(id, { repo, tag, labels: { [label]: of } })
          ),
        (id) => Effect.ignore(client.remove(id))
      )
    })

  const removeOlder = (client: DockerClient, current: string, of: string): Asked<void> =>
    Effect.flatMap(client.images(`${label}=${of}`), (images) =>
      Effect.forEach(
        images.flatMap(({ RepoTags }) => RepoTags ?? []).filter((name) => name !== current),
        // One that still runs stays until the next time.
        (name) => Effect.ignore(client.removeImage(name)),
        { discard: true }
      )
    )

  const pack = (
    spec: InstanceSpec,
    client: DockerClient,
    directory: string
  ): Effect.Effect<InstanceSpec & { readonly image: string }, LaunchError> =>
    Effect.gen(function* () {
      const asked = <A>(call: Asked<A>) => Effect.mapError(call, (failure) => launchFailure(spec, failure))
      const collected = yield* Effect.try({
        try: () => FunctionFiles.collect(directory, spec.command),
        catch: (cause) => String(cause)
      }).pipe(Effect.catch((detail) => badSpec(spec, "workingDirectory", detail)))
      const { root: from, packages, own } = collected
      const base = options.baseImage ?? (yield* asked(BaseImage.ensure(client)))
      const packagesImage = `${repository}:packages-${hashOf(base, from, packages)}`
      yield* asked(layer(client, base, packagesImage, entriesOf(from, packages), "packages"))
      const image = `${repository}:${hashOf(packagesImage, from, own)}`
      yield* asked(layer(client, packagesImage, image, entriesOf(from, own), spec.functionId))
      yield* asked(removeOlder(client, image, spec.functionId))
      const command = spec.command.map((word, index) => {
        if (index === 0 && word === process.execPath) return "node"
        return word.startsWith(from + sep) ? pathInside(from, word) : word
      })
      return { ...spec, image, command, workingDirectory: pathInside(from, directory) }
    })

  return (spec, client) => {
    const { workingDirectory } = spec
    return workingDirectory === undefined
      ? badSpec(spec, "workingDirectory", "the folder of the function is packed into an image: name that folder")
      : one.withPermits(1)(pack(spec, client, workingDirectory))
  }
}
