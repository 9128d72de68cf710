import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it, onTestFinished, vi } from "vitest"
import * as ZygotePool from "./ZygotePool.ts"

const directory = mkdtempSync(join(tmpdir(), "millrace-zygote-pool-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** Stands for a zygote: says that it is ready, and that it took what it got. */
const fake = `
  const { closeSync, readSync, writeSync } = require("node:fs")
  writeSync(3, "r")
  const read = (size) => {
    const bytes = Buffer.alloc(size)
    if (readSync(3, bytes) === 0) process.exit(0)
    return bytes
  }
  const { words } = JSON.parse(read(read(4).readUInt32LE()))
`

const main = (text: string): string => {
  const path = join(directory, `${Math.random()}.cjs`)
  writeFileSync(path, text)
  return path
}

const makePool = (text: string, options: Partial<ZygotePool.Options> = {}) => {
  const troubles: Array<string> = []
  const pool = ZygotePool.make(
    {
      program: process.execPath,
      flags: [],
      environment: {},
      count: 1,
      calmMs: 0,
      idleMs: 60_000,
      openGroup: () => undefined,
      main: main(text),
      ...options
    },
    (detail) => troubles.push(detail)
  )
  onTestFinished(() => pool.close())
  const taken = async () => {
    const ready = await vi.waitFor(
      () => {
        const zygote = pool.take()
        if (zygote === undefined) throw new Error(`no zygote is ready; troubles: ${troubles.join()}`)
        return zygote
      },
      { timeout: 10_000, interval: 5 }
    )
    onTestFinished(() => void ready.child.kill("SIGKILL"))
    return ready
  }
  return { pool, troubles, taken }
}

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

const gone = (pid: number) => vi.waitFor(() => expect(isAlive(pid)).toBe(false), { timeout: 10_000, interval: 5 })

const handOver: ZygotePool.HandOver = { words: ["a.js", "b"], workingDirectory: "/", environment: {} }

const given = (zygote: ZygotePool.Zygote) =>
  new Promise<{ readonly early: string } | { readonly failed: string }>((resolve, reject) => {
    let told = 0
    const once = (answer: { readonly early: string } | { readonly failed: string }) =>
      ++told === 1 ? resolve(answer) : reject(new Error("told twice"))
    zygote.give(handOver, {
      onTaken: (early) => once({ early: Buffer.concat(early.map(({ bytes }) => bytes)).toString() }),
      onFailed: (failed) => once({ failed })
    })
  })

describe("the pool of zygotes", () => {
  it("has none before the first start that could have used one", async () => {
    const { pool, taken } = makePool(fake)
    pool.started(false)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(pool.take()).toBeUndefined()
    pool.started(true)
    expect((await taken()).pid).toBeGreaterThan(0)
  })

  it("P1: gives each away once", async () => {
    const { pool, taken } = makePool(fake)
    pool.started(true)
    const first = await taken()
    expect(pool.take()).toBeUndefined()
    pool.started(true)
    const second = await taken()
    expect(second.pid).not.toBe(first.pid)
  })

  it("P2: a hand-over that is taken is told with what was printed meanwhile", async () => {
    const { pool, taken } = makePool(
      `${fake} writeSync(1, words.join(" ")); writeSync(3, "t"); closeSync(3); setInterval(() => {}, 1000)`
    )
    pool.started(true)
    const zygote = await taken()
    const told = await given(zygote)
    let printed = "early" in told ? told.early : ""
    // Which of the two pipes is read first is the system's choice; nothing may be in neither.
    zygote.child.stdout?.on("data", (bytes) => (printed += bytes))
    await vi.waitFor(() => expect(printed).toBe("a.js b"), { timeout: 10_000, interval: 5 })
  })

  it("P2: one that is taken and over at once is told as taken", async () => {
    const { pool, taken } = makePool(`${fake} writeSync(3, "t"); process.reallyExit(5)`)
    for (let round = 0; round < 5; round++) {
      pool.started(true)
      expect(await given(await taken())).toEqual({ early: "" })
    }
  })

  it("P2: one that ends instead is told as failed, with its words, when it is gone", async () => {
    const { pool, taken } = makePool(`${fake} console.error("no, thanks"); process.exit(1)`)
    pool.started(true)
    const zygote = await taken()
    expect(await given(zygote)).toEqual({ failed: expect.stringContaining("no, thanks") })
    expect(isAlive(zygote.pid)).toBe(false)
  })

  it("P2: one that closes the channel and stays is killed before it is told as failed", async () => {
    const { pool, taken } = makePool(`${fake} closeSync(3); setInterval(() => {}, 1000)`)
    pool.started(true)
    const zygote = await taken()
    expect(await given(zygote)).toHaveProperty("failed")
    expect(isAlive(zygote.pid)).toBe(false)
  })

  it("P2: one that is claimed is told as taken once, and not as failed when it ends", async () => {
    const { pool, taken } = makePool(`${fake} setTimeout(() => process.exit(1), 50)`)
    pool.started(true)
    const zygote = await taken()
    const told = given(zygote)
    zygote.claim()
    expect(await told).toEqual({ early: "" })
    await gone(zygote.pid)
    zygote.claim()
  })

  it("P3: stops after three in a row that end before they are given away, and says why each time", async () => {
    const { pool, troubles } = makePool(`console.error("broken"); process.exit(1)`)
    pool.started(true)
    await vi.waitFor(() => expect(troubles.length).toBe(3), { timeout: 10_000, interval: 5 })
    expect(troubles[0]).toMatch(/did not start.*broken/s)
    expect(troubles[2]).toMatch(/no more are made/)
    pool.started(true)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(troubles.length).toBe(3)
  })

  it("drains when no start could have used one for so long, and begins again with the next that could", async () => {
    const { pool, troubles } = makePool(`${fake}`, { idleMs: 1_000, count: 2 })
    pool.started(true)
    const pids = await vi.waitFor(
      () => {
        const found = childrenOfThis()
        expect(found.length).toBe(2)
        return found
      },
      { timeout: 10_000, interval: 5 }
    )
    for (const pid of pids) await gone(pid)
    expect(pool.take()).toBeUndefined()
    pool.started(false)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(childrenOfThis()).toEqual([])
    pool.started(true)
    await vi.waitFor(() => expect(childrenOfThis().length).toBe(2), { timeout: 10_000, interval: 5 })
    expect(troubles).toEqual([])
  })

  it("ends what waits when it is closed", async () => {
    const { pool, taken, troubles } = makePool(fake, { count: 2 })
    pool.started(true)
    const { pid } = await taken()
    pool.close()
    await vi.waitFor(() => expect(childrenOfThis()).toEqual([pid]), { timeout: 10_000, interval: 5 })
    expect(troubles).toEqual([])
  })
})

/** Vitest gives each file a process of its own, whose children are only ours. */
const childrenOfThis = (): ReadonlyArray<number> =>
  readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean)
    .map(Number)
    .filter((pid) => isAlive(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(directory))
