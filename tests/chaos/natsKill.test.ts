/**
 * The main job over NATS, whose only server is killed under the calls.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import * as Kills from "./Kills.ts"

const seed = Number(process.env["MILLRACE_SEED"] ?? Date.now() % 1_000_000)
const small = { requests: 150, seed, callers: 16, say: () => {} }

describe.skipIf(natsIsMissing)(`random kills of nats-server and of instances (seed ${seed})`, () => {
  let server: RunningNats | undefined
  beforeAll(async () => {
    server = await startNats()
  })
  afterAll(() => server?.remove())

  const natsOf = (prefix: string): Kills.Nats => ({
    fabric: {
      servers: [server!.url],
      system: { servers: [server!.systemUrl], credentials: { _tag: "Anonymous" } },
      prefix
    },
    killAndStart: async () => {
      await server!.kill()
      await server!.start()
    }
  })

  it("lose nothing that was promised and double nothing", async () => {
    const report = await Kills.run({
      ...small,
      kills: 6,
      durability: "accepted",
      victims: ["nats", "nats", "instance"],
      nats: natsOf("kills")
    })
    expect(report.explained).toEqual([])
    expect(report.counts.accepted).toBeGreaterThan(50)
    expect(report.counts.claimable).toBe(report.counts.accepted)
    expect(report.killed.nats + report.killed.instance).toBe(6)
  }, 120_000)

  it("are noticed when the server's disk is taken away: the control loses", async () => {
    const report = await Kills.run({
      ...small,
      kills: 2,
      durability: "accepted",
      victims: ["platform"],
      nats: {
        ...natsOf("control"),
        whilePlatformIsDead: async () => {
          await server!.kill()
          await server!.forget()
          await server!.start()
        }
      }
    })
    expect(report.verdicts.filter(({ law }) => law === "lost").length).toBeGreaterThan(0)
  }, 120_000)
})
