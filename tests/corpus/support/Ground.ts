/**
 * The platform that a corpus is thrown at, with one function that is warm, and what is looked at afterwards: figures of
 * the shard, records of the log, files of bodies.
 *
 * @module
 */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, expect } from "vitest"
import { call } from "../../platform/support/Client.ts"
import { eventually, start, type TestFunction, type TestPlatform } from "../../support/TestPlatform.ts"

export interface Ground {
  readonly test: TestPlatform
  readonly fn: TestFunction
}

/** What must be the same after a refusal as before it. */
export interface Traces {
  /** Requests that are known, ended ones too. */
  readonly requests: number
  readonly pending: number
  readonly leased: number
  /** Records ever written to the shard logs. */
  readonly logRecords: number
  readonly files: number
}

export const traces = ({ platform, stateDirectory }: TestPlatform): Traces => {
  const backlog = platform.directory.backlog()
  return {
    requests: platform.directory.list({ limit: 1000 }).length,
    pending: backlog.reduce((sum, row) => sum + row.pending, 0),
    leased: backlog.reduce((sum, row) => sum + row.leased, 0),
    logRecords: platform.recordsWritten(),
    files: ["blobs", "blobs-partial"]
      .map((folder) => join(stateDirectory, folder))
      .reduce((sum, folder) => sum + (existsSync(folder) ? readdirSync(folder).length : 0), 0)
  }
}

/** That it came, was leased and ended. */
const recordsOfRequest = 3

/** Everything that was under way is over, and written. */
export const settled = (test: TestPlatform): Promise<Traces> =>
  eventually("nothing waits, runs or lies about", () => {
    const now = traces(test)
    const isWritten = now.logRecords === recordsOfRequest * now.requests
    return now.pending + now.leased + now.files === 0 && isWritten ? now : undefined
  })

/** Before the first test a platform with the warm function `corpus`; a function, because it is not there before. */
export const givenGround = (): (() => Ground) => {
  let ground: Ground | undefined
  beforeAll(async () => {
    const test = await start()
    // Whatever is taken is written before it runs, so a log that has not grown has taken nothing.
    const version = { durability: "always" as const }
    const fn = await test.deploy("corpus", { minInstances: 1, bodyBytesMax: 100_000 }, version)
    ground = { test, fn }
    expect((await call(`${fn.url}/`)).status).toBe(200)
  })
  afterAll(() => ground?.test.close())
  return () => {
    if (ground === undefined) throw new Error("the platform is not running")
    return ground
  }
}

/** The next call is as good as the first one. */
export const worksAsEver = async ({ fn }: Ground): Promise<void> => {
  const answer = await call(`${fn.url}/echo`, { body: "as ever" })
  expect([answer.status, answer.text]).toEqual([200, "as ever"])
}
