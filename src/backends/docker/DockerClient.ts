/**
 * The calls of the Docker Engine that the backend makes, each with a deadline and with failures that say whether asking
 * again can help.
 *
 * @module
 */
import { Agent } from "node:http"
import type { Readable } from "node:stream"
import Dockerode from "dockerode"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

export class DaemonFailure extends Data.TaggedError("DaemonFailure")<{
  /**
   * `unavailable`: no answer in time, no connection, or an error of its own (5xx); what was asked for may have happened.
   * `refused`: it said no (400, 403, 406). `not-modified`: it is so already.
   */
  readonly kind: "unavailable" | "not-found" | "conflict" | "not-modified" | "refused"
  readonly operation: string
  readonly detail: string
}> {
  override get message() {
    return `the Docker daemon could not ${this.operation} (${this.kind}): ${this.detail}`
  }
}

export type Asked<A> = Effect.Effect<A, DaemonFailure>

export interface Options {
  /** Path of the daemon's socket. Default: as the `docker` command finds it (`DOCKER_HOST`, `/var/run/docker.sock`). */
  readonly socketPath?: string | undefined
  /** Each answer comes within so many milliseconds. Default 10,000. */
  readonly callMs?: number | undefined
}

export interface DockerClient {
  readonly info: Asked<{ readonly Runtimes?: Readonly<Record<string, unknown>>; readonly NCPU?: number }>
  /** Answers the container's id. */
  readonly create: (options: Dockerode.ContainerCreateOptions) => Asked<string>
  readonly start: (id: string) => Asked<void>
  /** Also succeeds when it does not run, or is not there. */
  readonly kill: (id: string, signal: string) => Asked<void>
  /** With its volumes, running or not. Also succeeds when it is not there. */
  readonly remove: (id: string) => Asked<void>
  readonly inspect: (idOrName: string) => Asked<Dockerode.ContainerInspectInfo>
  readonly list: (labels: ReadonlyArray<string>) => Asked<ReadonlyArray<Dockerode.ContainerInfo>>
  readonly putArchive: (id: string, archive: Readable | Buffer, path: string) => Asked<void>
  /** Makes an image `repo:tag` of what is in a container. */
  readonly commit: (
    id: string,
    image: { readonly repo: string; readonly tag: string; readonly labels: Readonly<Record<string, string>> }
  ) => Asked<void>
  /** Output from `since` on (seconds with nine decimals; "0" = all that is kept), until the container ends. */
  readonly follow: (id: string, since: string) => Asked<Readable>
  /** The same, as far as there is some now. */
  readonly output: (id: string, since: string) => Asked<Buffer>
  readonly events: (labels: ReadonlyArray<string>, actions: ReadonlyArray<string>) => Asked<Readable>
  readonly hasImage: (name: string) => Asked<boolean>
  readonly importImage: (archive: Readable, name: string) => Asked<void>
  readonly images: (label: string) => Asked<ReadonlyArray<Dockerode.ImageInfo>>
  readonly removeImage: (name: string) => Asked<void>
}

export const callMsDefault = 10_000
/** An archive is as large as what is in it. */
const archiveMs = 300_000

const kindOf = (status: number | undefined): DaemonFailure["kind"] => {
  if (status === 304) return "not-modified"
  if (status === 404) return "not-found"
  if (status === 409) return "conflict"
  return status === undefined || status >= 500 ? "unavailable" : "refused"
}

const failureOf = (operation: string, cause: unknown): DaemonFailure => {
  const status =
    cause instanceof Error && "statusCode" in cause && typeof cause.statusCode === "number"
      ? cause.statusCode
      : undefined
  const text = cause instanceof Error ? cause.message.trim() : String(cause)
  const detail = text.replace(/^\(HTTP code \d+\) .*? - /, "")
  return new DaemonFailure({ kind: kindOf(status), operation, detail })
}

const logOptions = (since: string) => ({
  stdout: true,
  stderr: true,
  timestamps: true,
  // The type knows whole seconds only; the daemon takes nine decimals, which no number holds.
  since: since as unknown as number
})

export const make = (options: Options): DockerClient => {
  const callMs = options.callMs ?? callMsDefault
  // A kept connection of a daemon that was restarted would fail the next call; the types do not know of `agent`.
  const connection = { agent: new Agent({ keepAlive: false }) }
  const docker = new Dockerode({
    ...connection,
    ...(options.socketPath === undefined ? {} : { socketPath: options.socketPath })
  })

  const ask = <A>(operation: string, call: (signal: AbortSignal) => Promise<A>, withinMs = callMs): Asked<A> =>
    Effect.tryPromise({ try: call, catch: (cause) => failureOf(operation, cause) }).pipe(
      Effect.timeoutOrElse({
        duration: withinMs,
        orElse: () =>
          Effect.fail(
            new DaemonFailure({ kind: "unavailable", operation, detail: `there was no answer within ${withinMs} ms` })
          )
      })
    )
  const done = <A>(asked: Asked<A>): Asked<void> => Effect.asVoid(asked)
  const unless = (kinds: ReadonlyArray<DaemonFailure["kind"]>) => (asked: Asked<unknown>) =>
    asked.pipe(
      Effect.asVoid,
      Effect.catch((failure) => (kinds.includes(failure.kind) ? Effect.void : Effect.fail(failure)))
    )

  return {
    info: ask("say what it is", () => docker.info()),
    create: (container) =>
      ask("create a container", async (abortSignal) => {
        const created = await docker.createContainer({ ...container, abortSignal })
        return created.id
      }),
    start: (id) =>
      unless(["not-modified"])(
        ask("start a container", (abortSignal) => docker.getContainer(id).start({ abortSignal }))
      ),
    // 409: it is not running.
    kill: (id, signal) =>
      unless(["not-found", "conflict"])(
        ask(`send ${signal}`, (abortSignal) => docker.getContainer(id).kill({ signal, abortSignal }))
      ),
    // 409: somebody else removes it at this moment.
    remove: (id) =>
      unless(["not-found", "conflict"])(
        ask("remove a container", (abortSignal) =>
          docker.getContainer(id).remove({ force: true, v: true, abortSignal })
        )
      ),
    inspect: (idOrName) =>
      ask("look at a container", (abortSignal) => docker.getContainer(idOrName).inspect({ abortSignal })),
    list: (label) =>
      ask("list containers", (abortSignal) =>
        docker.listContainers({ all: true, filters: { label: [...label] }, abortSignal })
      ),
    putArchive: (id, archive, path) =>
      done(
        ask(
          "take an archive",
          (abortSignal) => docker.getContainer(id).putArchive(archive, { path, abortSignal }),
          archiveMs
        )
      ),
    commit: (id, { repo, tag, labels }) =>
      done(
        ask(
          "make an image",
          (abortSignal) =>
            docker
              .getContainer(id)
              .commit({ _query: { container: id, repo, tag }, _body: { Labels: labels }, abortSignal }),
          archiveMs
        )
      ),
    follow: (id, since) =>
      ask("follow the output", async () => {
        const stream = await docker.getContainer(id).logs({ ...logOptions(since), follow: true })
        // With `follow` it is the response itself, a `Readable` by another name.
        return stream as Readable
      }),
    output: (id, since) =>
      ask("show the output", async (abortSignal) => {
        const bytes = await docker.getContainer(id).logs({ ...logOptions(since), follow: false, abortSignal })
        return Buffer.isBuffer(bytes) ? bytes : Buffer.alloc(0)
      }),
    events: (label, event) =>
      ask("tell of events", async () => {
        const filters = { type: ["container" as const], label: [...label], event: [...event] }
        // The response itself, a `Readable` by another name.
        return (await docker.getEvents({ filters })) as Readable
      }),
    hasImage: (name) =>
      ask("look at an image", () => docker.getImage(name).inspect()).pipe(
        Effect.as(true),
        Effect.catch((failure) => (failure.kind === "not-found" ? Effect.succeed(false) : Effect.fail(failure)))
      ),
    importImage: (archive, name) =>
      ask(
        "import an image",
        async () => {
          const [repo = name, tag = "latest"] = name.split(":")
          const progress = await docker.importImage(archive, { repo, tag })
          await new Promise((resolve, reject) => {
            docker.modem.followProgress(progress, (error) => (error === null ? resolve(undefined) : reject(error)))
          })
        },
        archiveMs
      ),
    images: (label) =>
      ask("list images", (abortSignal) => docker.listImages({ filters: { label: [label] }, abortSignal })),
    removeImage: (name) =>
      unless(["not-found", "conflict"])(
        ask("remove an image", (abortSignal) => docker.getImage(name).remove({ abortSignal }))
      )
  }
}
