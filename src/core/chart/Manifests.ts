/**
 * Manifests as text: documents of YAML (or JSON), read within bounds. Pure; the reader of YAML is given.
 *
 * @module
 */
import * as Result from "effect/Result"
import { objectBytesMax, objectsMax } from "./ChartRules.ts"
import * as Fields from "./Fields.ts"

/** An alias of YAML stands for what it names, again and again. */
const valuesMax = 1_000_000

/** All documents of a text; throws what is wrong with it. */
export type LoadAll = (text: string) => ReadonlyArray<unknown>

/** The documents as they are, empty ones too; or why they cannot be read. */
export const documentsOf = (text: string, loadAll: LoadAll): Result.Result<ReadonlyArray<unknown>, string> => {
  const read = Result.try(() => {
    if (text.length > objectsMax * objectBytesMax) throw new Error(`${text.length} characters are too many`)
    const documents = loadAll(text)
    let left = valuesMax
    for (const document of documents) left = Fields.counted(document, left)
    if (left <= 0) throw new Error(`they have more than ${valuesMax} values`)
    return documents
  })
  return Result.mapError(read, (cause) => `the manifests cannot be read: ${String(cause)}`)
}
