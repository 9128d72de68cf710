/**
 * The NATS fabric under the law suites of all ports, on a real server.
 *
 * @module
 */
import { afterAll, beforeAll, describe } from "vitest"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { keyValueLaws } from "./keyValueLaws.ts"
import { logLaws } from "./logLaws.ts"
import { nats } from "./NatsMaker.ts"
import { pubSubLaws } from "./pubSubLaws.ts"
import { workQueueLaws } from "./workQueueLaws.ts"

describe.skipIf(natsIsMissing)("on a real server", () => {
  let server: RunningNats | undefined
  beforeAll(async () => {
    server = await startNats()
  })
  afterAll(() => server?.remove())
  const maker = nats(() => {
    if (server === undefined) throw new Error("the server is not started")
    return server
  })
  logLaws(maker)
  keyValueLaws(maker)
  workQueueLaws(maker)
  pubSubLaws(maker)
})
