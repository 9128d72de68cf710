/**
 * A store at rest that is damaged: one bit turned over, or a file cut short, and what the next start makes of it.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { cpSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { BlobStore } from "../../src/planes/fabric/BlobStore.ts"
import * as EmbeddedFabric from "../../src/planes/fabric/EmbeddedFabric.ts"
import { KeyValue } from "../../src/planes/fabric/KeyValue.ts"
import { Log } from "../../src/planes/fabric/Log.ts"
import type { Random } from "../chaos/Random.ts"

export interface Damage {
  /** Relative to the state directory. */
  readonly file: string
  readonly kind: "flip" | "truncate"
  readonly offset: number
  readonly bit: number
}

export type Fate =
  /** Everything is there, byte for byte: the damage lay where nothing is. */
  | { readonly kind: "whole" }
  | { readonly kind: "refused"; readonly message: string }
  /** Something is missing or other than it was, and nobody said so. */
  | { readonly kind: "silent"; readonly what: string }

/** What the store holds, each thing by its name with a digest of its bytes. */
export type Content = ReadonlyMap<string, string>

const shard = "shard-0"
const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("base64url").slice(0, 16)

const readAll = Effect.gen(function* () {
  const log = yield* Log
  const keyValue = yield* KeyValue
  const blobs = yield* BlobStore
  const content = new Map<string, string>()
  const snapshot = yield* log.loadSnapshot(shard)
  if (snapshot !== undefined) content.set(`snapshot at ${snapshot.position}`, digestOf(snapshot.bytes))
  const { first, end } = yield* log.bounds(shard)
  content.set("bounds", `${first} to ${end}`)
  for (let position = first; ; ) {
    const records = yield* log.read(shard, position, 1024)
    if (records.length === 0) break
    for (const record of records) content.set(`record ${record.position}`, digestOf(record.bytes))
    position += records.length
  }
  for (const { key, value, revision } of yield* keyValue.list("")) {
    content.set(`key ${key}`, `${revision} ${digestOf(value)}`)
  }
  for (const id of yield* blobs.list()) {
    const hash = createHash("sha256")
    yield* Effect.tryPromise({
      try: async () => {
        for await (const bytes of blobs.read(id)) hash.update(bytes)
      },
      catch: (error) => error
    })
    content.set(`blob ${id}`, hash.digest("base64url").slice(0, 16))
  }
  return content
})

const open = (directory: string) =>
  Effect.runPromiseExit(Effect.scoped(Effect.provide(readAll, EmbeddedFabric.layer({ directory }))))

/** Fails when it does not open. */
export const contentOf = async (directory: string): Promise<Content> => {
  const exit = await open(directory)
  if (Exit.isSuccess(exit)) return exit.value
  throw Cause.squash(exit.cause)
}

/** Files whose loss would be a loss. */
const filesOf = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, encoding: "utf8" }).filter(
    (file) => /^millrace\.db(?:-wal)?$|^blobs\//.test(file) && statSync(join(directory, file)).size > 0
  )

export const choose = (random: Random, directory: string): Damage => {
  const files = filesOf(directory)
  // The database and its log are where most is; blobs are the larger files.
  const named = files.filter((file) => !file.startsWith("blobs/"))
  const file = random.pick(random.chance(0.8) ? named : files) ?? ""
  const { size } = statSync(join(directory, file))
  return {
    file,
    kind: random.chance(0.8) ? "flip" : "truncate",
    offset: random.below(size),
    bit: random.below(8)
  }
}

export const inflict = (directory: string, { file, kind, offset, bit }: Damage): void => {
  const path = join(directory, file)
  if (kind === "truncate") return truncateSync(path, offset)
  const bytes = readFileSync(path)
  bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit)
  writeFileSync(path, bytes)
}

/** Damages a copy, opens it as the next start would, and compares what it reads with what there was. */
export const fateOf = async (original: string, expected: Content, damage: Damage, copy: string): Promise<Fate> => {
  cpSync(original, copy, { recursive: true })
  inflict(copy, damage)
  const exit = await open(copy)
  if (Exit.isFailure(exit)) {
    const error = Cause.squash(exit.cause)
    return { kind: "refused", message: error instanceof Error ? error.message : String(error) }
  }
  for (const [name, digest] of expected) {
    const found = exit.value.get(name)
    if (found !== digest) return { kind: "silent", what: `${name} is ${found === undefined ? "gone" : "other"}` }
  }
  return { kind: "whole" }
}
