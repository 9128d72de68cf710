/**
 * Reads English text off a picture: Tesseract (WebAssembly, in a thread of its own) with its trained data from npm.
 *
 * Works without a network: program and data both lie in `node_modules`, and nothing is cached elsewhere.
 *
 * @module
 */
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { createWorker, OEM } from "tesseract.js"

export interface Reading {
  readonly text: string
  /** 0 to 100: how sure it is of the words, on average. */
  readonly confidence: number
}

export interface Reader {
  /** One picture at a time; a second call waits for the first. Fails with `Unreadable`. */
  readonly read: (picture: Uint8Array) => Promise<Reading>
  readonly close: () => Promise<void>
}

/** The bytes are not a picture that Tesseract knows (PNG, JPEG, WebP, BMP, PNM, GIF, TIFF). */
export class Unreadable extends Error {
  override readonly name = "Unreadable"
}

/** Takes about 0.3 s: make it once, before the function says that it is ready. */
export const make = async (): Promise<Reader> => {
  const data = dirname(createRequire(import.meta.url).resolve("@tesseract.js-data/eng/package.json"))
  const worker = await createWorker("eng", OEM.LSTM_ONLY, {
    // A quarter of the size of the other set, and just as good on print.
    langPath: join(data, "4.0.0_best_int"),
    gzip: true,
    cacheMethod: "none",
    // Without it a failed reading is thrown a second time, outside of any promise, and ends the process.
    errorHandler: () => {}
  })
  let last: Promise<unknown> = Promise.resolve()
  const read = async (picture: Uint8Array): Promise<Reading> => {
    try {
      const { data } = await worker.recognize(Buffer.from(picture))
      return { text: data.text.trim(), confidence: data.confidence }
    } catch (reason) {
      throw new Unreadable(`this is not a picture that can be read: ${String(reason)}`)
    }
  }
  return {
    read: (picture) => {
      const reading = last.then(() => read(picture))
      last = reading.catch(() => {})
      return reading
    },
    close: async () => {
      await worker.terminate()
    }
  }
}
