import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { objectBytesMax, objectsMax } from "./ChartRules.ts"
import * as Manifests from "./Manifests.ts"

const of = (documents: ReadonlyArray<unknown>, text = "") => Manifests.documentsOf(text, () => documents)

describe("manifests as text", () => {
  it("their documents are those that the reader finds in them, empty ones too", () => {
    assert.deepStrictEqual(
      Manifests.documentsOf("a b", (text) => [...text.split(" "), null]),
      Result.succeed(["a", "b", null])
    )
    assert.deepStrictEqual(of([]), Result.succeed([]))
  })

  it("what the reader throws is told", () => {
    const failed = Manifests.documentsOf("a", () => {
      throw new Error("no such tag")
    })
    assert.deepStrictEqual(failed, Result.fail("the manifests cannot be read: Error: no such tag"))
  })

  it("a text of as many characters as all objects may have is read, and none that is longer", () => {
    const lengthMax = objectsMax * objectBytesMax
    const text = "a".repeat(lengthMax)
    assert.deepStrictEqual(of([1], text), Result.succeed([1]))
    assert.deepStrictEqual(
      of([1], `${text}a`),
      Result.fail(`the manifests cannot be read: Error: ${lengthMax + 1} characters are too many`)
    )
  })

  it("all documents together have less than a million values, aliases counted each time", () => {
    // A thousand of them and the list itself.
    const thousand = Array.from({ length: 999 }, () => 1)
    const documents = (count: number) => Array.from({ length: count }, () => thousand)
    assert.isTrue(Result.isSuccess(of(documents(999))))
    assert.deepStrictEqual(
      of(documents(1_000)),
      Result.fail("the manifests cannot be read: Error: they have more than 1000000 values")
    )
  })
})
