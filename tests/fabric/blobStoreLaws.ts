/**
 * The laws of `BlobStore`, for any maker. Numbers as in `src/planes/fabric/BlobStore.ts`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { BlobStore } from "../../src/planes/fabric/BlobStore.ts"
import {
  type FabricMaker,
  type FabricPlace,
  killWhileWriting,
  type OpenFabric,
  open,
  using,
  withPlace
} from "./FabricMaker.ts"
import * as Written from "./Written.ts"

type Blobs = BlobStore["Service"]

const readAll = async (blobs: Blobs, id: string, offset?: number): Promise<Buffer> => {
  const chunks: Array<Uint8Array> = []
  for await (const chunk of blobs.read(id, offset)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const writeWhole = async (blobs: Blobs, id: string, chunks: ReadonlyArray<Uint8Array>): Promise<number> => {
  const writer = await blobs.create(id)
  for (const chunk of chunks) await writer.write(chunk)
  return writer.finish()
}

const withBlobs = <A>(fabric: OpenFabric, body: (blobs: Blobs) => Promise<A>): Promise<A> =>
  fabric.run(BlobStore.use((blobs) => Effect.promise(() => body(blobs))))

const list = (fabric: OpenFabric) => fabric.run(BlobStore.use((blobs) => blobs.list()))

const rejection = async (promise: Promise<unknown>): Promise<{ readonly _tag?: string; readonly message?: string }> =>
  promise.then(
    () => ({ message: "it succeeded" }),
    (error: { readonly _tag?: string; readonly message?: string }) => error
  )

const findFaults = async (fabric: OpenFabric, confirmed: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const stored = await list(fabric)
  const faults = stored.filter((id) => id.endsWith(".unfinished"))
  for (const id of confirmed) if (!stored.includes(id)) faults.push(`${id} was confirmed and is gone`)
  for (const id of stored) {
    const content = await withBlobs(fabric, (blobs) => readAll(blobs, id))
    if (!content.equals(Written.bytes(id))) faults.push(`the bytes of ${id} are not what was written`)
  }
  return faults
}

export const blobStoreLaws = (maker: FabricMaker): void => {
  describe(`BlobStore: ${maker.name}`, () => {
    let place: FabricPlace
    let fabric: OpenFabric
    let idCount = 0
    const freshId = () => `laws-${idCount++}`

    beforeAll(async () => {
      place = await maker.makePlace()
      fabric = await open(maker, place)
    })
    afterAll(async () => {
      await fabric?.close()
      await place?.remove()
    })

    it("B1, B4: what was written in any pieces is read back from any offset, to the end, and its size is known", async () => {
      const chunks = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 })
      await fc.assert(
        fc.asyncProperty(chunks, fc.nat({ max: 2500 }), async (chunks, offset) => {
          const id = freshId()
          const whole = Buffer.concat(chunks)
          await withBlobs(fabric, async (blobs) => {
            assert.strictEqual(await writeWhole(blobs, id, chunks), whole.byteLength)
            assert.isTrue(whole.equals(await readAll(blobs, id)))
            assert.isTrue(whole.subarray(offset).equals(await readAll(blobs, id, offset)))
          })
          assert.strictEqual(await fabric.run(BlobStore.use((blobs) => blobs.size(id))), whole.byteLength)
        }),
        { numRuns: 30 }
      )
    })

    it("B1, B2: a kill in the middle of writing takes no finished blob and leaves no unfinished one", async () => {
      await withPlace(maker, async (place) => {
        const options = { scenario: "blobStore", honesty: "honest", seed: 1, lineCount: 30 } as const
        const lines = await killWhileWriting(maker, place, options)
        assert.deepStrictEqual(await using(maker, place, (fabric) => findFaults(fabric, lines)), [])
      })
    })

    it("control: the same check finds the loss of a writer that confirms before it finishes", async () => {
      await withPlace(maker, async (place) => {
        const options = { scenario: "blobStore", honesty: "early", seed: 1, lineCount: 30 } as const
        const lines = await killWhileWriting(maker, place, options)
        assert.notDeepEqual(await using(maker, place, (fabric) => findFaults(fabric, lines)), [])
      })
    })

    it("B2: an unfinished blob is not listed, has no size and cannot be read, and an aborted one never will", async () => {
      const id = freshId()
      await withBlobs(fabric, async (blobs) => {
        const writer = await blobs.create(id)
        await writer.write(Buffer.from("half of it"))
        assert.notInclude(await list(fabric), id)
        assert.isUndefined(await fabric.run(blobs.size(id)))
        assert.strictEqual((await rejection(readAll(blobs, id)))._tag, "FabricUnavailable")
        await writer.abort()
        assert.notInclude(await list(fabric), id)
        assert.strictEqual((await rejection(writer.finish()))._tag, "FabricUnavailable")
        assert.strictEqual(await writeWhole(blobs, id, [Buffer.from("now whole")]), 9)
      })
    })

    it("what was written so far can be read back while the rest is still coming", async () => {
      await withBlobs(fabric, async (blobs) => {
        const writer = await blobs.create(freshId())
        assert.strictEqual((await writer.readBack(0, 10)).byteLength, 0)
        await writer.write(Buffer.from("hello "))
        await writer.write(Buffer.from("world"))
        assert.strictEqual(Buffer.from(await writer.readBack(4, 4)).toString(), "o wo")
        assert.strictEqual(Buffer.from(await writer.readBack(6, 100)).toString(), "world")
        assert.strictEqual((await writer.readBack(11, 100)).byteLength, 0)
        const finished = writer.finish()
        assert.strictEqual(Buffer.from(await writer.readBack(0, 5)).toString(), "hello")
        await finished
      })
    })

    it("an id is used once: a second blob of that name is refused and the first stays as it is", async () => {
      const id = freshId()
      await withBlobs(fabric, async (blobs) => {
        await writeWhole(blobs, id, [Buffer.from("first")])
        assert.strictEqual((await rejection(blobs.create(id)))._tag, "FabricUnavailable")
        assert.strictEqual((await readAll(blobs, id)).toString(), "first")
      })
    })

    it("B3: removing twice is as good as once, also of what never was", async () => {
      const id = freshId()
      await withBlobs(fabric, (blobs) => writeWhole(blobs, id, [Buffer.from("x")]))
      await fabric.run(
        Effect.gen(function* () {
          const blobs = yield* BlobStore
          yield* blobs.remove(id)
          yield* blobs.remove(id)
          yield* blobs.remove(freshId())
          assert.isUndefined(yield* blobs.size(id))
          assert.notInclude(yield* blobs.list(), id)
        })
      )
    })

    it("B4: a reader that stops after the first piece of a large blob has not read all of it, and leaves it removable", async () => {
      const id = freshId()
      const large = 32 * 1024 * 1024
      await withBlobs(fabric, async (blobs) => {
        await writeWhole(blobs, id, [Buffer.alloc(large, "x")])
        for await (const chunk of blobs.read(id, 5)) {
          assert.isAtMost(chunk.byteLength, 1024 * 1024)
          break
        }
      })
      await fabric.run(BlobStore.use((blobs) => blobs.remove(id)))
    })

    it("refuses ids that could leave the folder or that it cannot name", async () => {
      await withBlobs(fabric, async (blobs) => {
        for (const id of ["", ".", "..", "a/b", "../a", "a\\b", "a\0b", "ü", "x".repeat(101)]) {
          assert.strictEqual(
            (await rejection(blobs.create(id)))._tag,
            "FabricUnavailable",
            `created ${JSON.stringify(id)}`
          )
          const error = await fabric.run(Effect.flip(blobs.remove(id)))
          assert.strictEqual(error._tag, "FabricUnavailable")
        }
      })
    })
  })
}
