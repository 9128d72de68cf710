/**
 * The README's job with the example functions of this repository: each is called as its own documentation shows. Whatever
 * runs their instances, the answers are the same.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect } from "vitest"
import { root } from "./TestPlatform.ts"

export const folder = join(root, "examples")

/** Those that need nothing beyond what `npm ci` has installed. */
export const names = ["hello", "thumbnail", "tinylm", "wrapped"] as const
export type Name = (typeof names)[number]

const jobs: Readonly<Record<Name, (url: string) => Promise<void>>> = {
  hello: async (url) => {
    const hello = await fetch(`${url}/?name=Ada`)
    expect(await hello.text()).toBe("Hello, Ada!\n")
    expect(hello.headers.get("server-timing")).toMatch(/start-process;dur=\d/)
  },
  thumbnail: async (url) => {
    const body = readFileSync(join(folder, "thumbnail/harbour.jpg"))
    const thumbnail = await fetch(`${url}/?width=200`, { method: "POST", body })
    expect(thumbnail.headers.get("content-type")).toBe("image/webp")
    expect((await thumbnail.arrayBuffer()).byteLength).toBeGreaterThan(1_000)
  },
  tinylm: async (url) => {
    const body = JSON.stringify({ prompt: "And God said", stream: true })
    const tinylm = await fetch(`${url}/generate`, { method: "POST", body })
    expect(await tinylm.text()).toMatch(/^data: /m)
  },
  wrapped: async (url) => {
    const wrapped = await fetch(`${url}/statistics`, { method: "POST", body: "one two\ntwo\n" })
    expect(await wrapped.json()).toMatchObject({ lines: 2, words: 3 })
  }
}

/** Calls one of them, from zero. */
export const call = (gateway: string, name: Name): Promise<void> => jobs[name](`${gateway}/f/${name}`)

export const callAll = async (gateway: string): Promise<void> => {
  for (const name of names) await call(gateway, name)
}
