/**
 * What an API server has of one kind, kept here: a list, then a watch from where the list ended, and so on.
 *
 * I1 After a dropped watch it goes on from the last version that it saw, and nothing is missed. I2 When the server has
 * forgotten that version (410 Gone) it lists anew, tells what differs, and says that something between may be missing.
 * I3 A watch on which nothing comes, not even a bookmark, is given up. I4 It never gives up altogether.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Api, ApiFailure } from "./Api.ts"

/** Of an object in the server's JSON, what every kind has. */
export interface Named {
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
}

export interface Change<A> {
  readonly before: A | undefined
  /** As it was when it was deleted, in `last`. */
  readonly after: A | undefined
  readonly last: A
}

export interface Options<A> {
  /** Of the collection. */
  readonly path: string
  readonly labelSelector?: string
  /** Undefined: it cannot be read, and is left out. */
  readonly decode: (object: unknown) => A | undefined
  readonly onChange: (change: Change<A>) => void
  /** Something between two lists may not have been told. */
  readonly onGap: (detail: string) => void
  /** The server sends a bookmark about each minute. Default 150,000. */
  readonly idleMs?: number
  readonly backoffMaxMs?: number
}

export interface Informer<A> {
  readonly get: (name: string) => A | undefined
  readonly all: () => Iterable<A>
  /** Puts in what a write has answered, unless something newer is known: reads one's own writes. */
  readonly note: (object: unknown) => void
}

const pageSize = 500
const idleMsDefault = 150_000
const watchSeconds = 300
const backoffMinMs = 50
const backoffMaxMsDefault = 10_000

/** Succeeds when the first list is in; then goes on until the scope closes. */
export const start = <A extends Named>(
  api: Api,
  options: Options<A>
): Effect.Effect<Informer<A>, ApiFailure, Scope.Scope> => {
  const { path, labelSelector, decode, onChange, onGap } = options
  const known = new Map<string, A>()
  /** Deleted while they might still come in by a late `note`. */
  const gone = new Set<string>()

  const put = (object: A) => {
    const before = known.get(object.name)
    if (before !== undefined && before.uid === object.uid && isOlder(object, before)) return
    known.set(object.name, object)
    if (before !== undefined && before.uid !== object.uid) onChange({ before, after: undefined, last: before })
    onChange({ before: before?.uid === object.uid ? before : undefined, after: object, last: object })
  }

  const remove = (last: A) => {
    const before = known.get(last.name)
    if (before === undefined || before.uid !== last.uid) return
    known.delete(last.name)
    if (gone.size > 10_000) gone.clear()
    gone.add(last.uid)
    onChange({ before, after: undefined, last })
  }

  const list = Effect.fnUntraced(function* () {
    const found = new Map<string, A>()
    let token: string | undefined
    let version = ""
    do {
      const page = readList(
        yield* api.call({ method: "GET", path, query: { labelSelector, limit: pageSize, continue: token } })
      )
      for (const item of page.items) {
        const object = decode(item)
        if (object !== undefined) found.set(object.name, object)
      }
      version = page.resourceVersion
      token = page.continue
    } while (token !== undefined)
    for (const object of [...known.values()]) {
      const now = found.get(object.name)
      // One that a write has put in after this list was made is newer than it.
      if (now === undefined && Number(object.resourceVersion) <= Number(version)) remove(object)
    }
    for (const object of found.values()) put(object)
    return version
  })

  const watch = (from: string, onVersion: (version: string) => void) =>
    Effect.suspend(() => {
      let expired = false
      const onLine = (line: string) => {
        const { type, object } = readEvent(line)
        const version = versionOf(object)
        if (type === "ERROR") {
          expired = true
          return
        }
        if (type !== "BOOKMARK") {
          const decoded = decode(object)
          if (decoded !== undefined && type === "DELETED") remove(decoded)
          else if (decoded !== undefined && !gone.has(decoded.uid)) put(decoded)
        }
        if (version !== "") onVersion(version)
      }
      const query = {
        labelSelector,
        watch: "1",
        allowWatchBookmarks: "true",
        resourceVersion: from,
        timeoutSeconds: watchSeconds
      }
      return api
        .lines({ method: "GET", path, query }, { idleMs: options.idleMs ?? idleMsDefault, onLine })
        .pipe(Effect.map(() => expired))
    })

  const follow = Effect.fnUntraced(function* (first: string) {
    let version: string | undefined = first
    let waitMs = backoffMinMs
    for (;;) {
      if (version === undefined) {
        const listed: string | undefined = yield* Effect.catch(list(), () => Effect.succeed(undefined))
        if (listed !== undefined) {
          version = listed
          onGap(`${path} was listed anew`)
        }
      }
      if (version !== undefined) {
        const seen = yield* Effect.result(
          watch(version, (newest) => {
            version = newest
            waitMs = backoffMinMs
          })
        )
        const expired = seen._tag === "Success" ? seen.success : seen.failure.status === 410
        if (expired) version = undefined
      }
      yield* Effect.sleep(waitMs)
      waitMs = Math.min(options.backoffMaxMs ?? backoffMaxMsDefault, waitMs * 2)
    }
  })

  return Effect.gen(function* () {
    const version = yield* list()
    yield* Effect.forkScoped(
      Effect.tapCause(follow(version), (cause) => Effect.logError(`the informer of ${path} broke`, cause))
    )
    return {
      get: (name) => known.get(name),
      all: () => known.values(),
      note: (object) => {
        const decoded = decode(object)
        if (decoded !== undefined && !gone.has(decoded.uid)) put(decoded)
      }
    } satisfies Informer<A>
  })
}

/** Versions of one collection are numbers that grow. */
const isOlder = (one: Named, other: Named): boolean => Number(one.resourceVersion) <= Number(other.resourceVersion)

const fieldOf = (object: unknown, name: string): unknown =>
  typeof object === "object" && object !== null ? Reflect.get(object, name) : undefined

const textOf = (value: unknown): string => (typeof value === "string" ? value : "")

const versionOf = (object: unknown): string => textOf(fieldOf(fieldOf(object, "metadata"), "resourceVersion"))

export const readList = (answer: unknown) => {
  const items = fieldOf(answer, "items")
  const more = textOf(fieldOf(fieldOf(answer, "metadata"), "continue"))
  return {
    items: Array.isArray(items) ? items : [],
    resourceVersion: versionOf(answer),
    continue: more === "" ? undefined : more
  }
}

const readEvent = (line: string): { readonly type: string; readonly object: unknown } => {
  let event: unknown
  try {
    event = JSON.parse(line)
  } catch {
    return { type: "ERROR", object: undefined }
  }
  return { type: textOf(fieldOf(event, "type")), object: fieldOf(event, "object") }
}
