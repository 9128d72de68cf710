/**
 * Bundles of functions in the cluster: one ConfigMap for each content, which all instances of it share. Whoever launches
 * sees to it that it is there; the leader removes those that no request names and nobody asked for in a while.
 *
 * Laws: B4 a bundle that a launch has asked for within `unusedMs` is not removed, by whichever agent.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Api, ApiFailure } from "./Api.ts"
import * as FunctionBundle from "./FunctionBundle.ts"
import * as Names from "./Names.ts"

export interface Options {
  readonly api: Api
  readonly paths: Names.Paths
  readonly cluster: string
}

/** Longer than a launch takes from here to its request. */
export const unusedMs = 10 * 60_000
const usedAnnotation = `${Names.group}/used-at`
const triesMax = 5

const List = Schema.Struct({
  items: Schema.Array(
    Schema.Struct({
      metadata: Schema.Struct({
        name: Schema.String,
        uid: Schema.String,
        resourceVersion: Schema.String,
        annotations: Schema.optional(Schema.Record(Schema.String, Schema.String))
      })
    })
  )
})
const decode = Schema.decodeUnknownResult(List)

/** There when this succeeds, and for `unusedMs` from now. */
export const ensure = Effect.fnUntraced(function* (
  { api, paths, cluster }: Options,
  { digest, content }: FunctionBundle.Bundle,
  nowMs: number
) {
  const name = Names.bundleName(cluster, digest)
  const annotations = { [usedAnnotation]: new Date(nowMs).toISOString() }
  const body = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, labels: { ...Names.labelsOfCluster(cluster), [Names.bundleLabel]: digest }, annotations },
    immutable: true,
    binaryData: { [FunctionBundle.key]: content.toString("base64") }
  }
  for (let tries = 0; tries < triesMax; tries++) {
    const touched = yield* api.find({
      method: "PATCH",
      path: `${paths.configMaps}/${name}`,
      contentType: "application/merge-patch+json",
      body: { metadata: { annotations } },
      metadataOf: "object"
    })
    if (touched !== undefined) return
    const made = yield* Effect.result(api.call({ method: "POST", path: paths.configMaps, body, metadataOf: "object" }))
    if (Result.isSuccess(made)) return
    if (made.failure.status !== 409 || tries === triesMax - 1) return yield* made.failure
  }
})

/** Removes what nobody needs. `inUse`: digests that requests name. */
export const sweep = Effect.fnUntraced(function* (
  { api, paths, cluster }: Options,
  inUse: ReadonlySet<string>,
  nowMs: number
): Effect.fn.Return<void, ApiFailure> {
  const labelSelector = `${Names.selectorOf(Names.labelsOfCluster(cluster))},${Names.bundleLabel}`
  // Names and annotations alone: the contents are large.
  const list = decode(
    yield* api.call({ method: "GET", path: paths.configMaps, query: { labelSelector }, metadataOf: "list" })
  )
  if (Result.isFailure(list)) return
  const names = new Set([...inUse].map((digest) => Names.bundleName(cluster, digest)))
  for (const { metadata } of list.success.items) {
    const usedMs = Date.parse(metadata.annotations?.[usedAnnotation] ?? "")
    if (names.has(metadata.name) || nowMs - usedMs < unusedMs) continue
    // Not if somebody has asked for it meanwhile.
    const preconditions = { uid: metadata.uid, resourceVersion: metadata.resourceVersion }
    const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions }
    yield* Effect.ignore(
      api.find({ method: "DELETE", path: `${paths.configMaps}/${metadata.name}`, body, metadataOf: "object" })
    )
  }
})
