import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import * as HealthServer from "./HealthServer.ts"

/** Opens one with these checks, which may be added to while it is open. */
const withServer = (checks: Array<HealthServer.Check>, body: (url: string) => Promise<void>) =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const port = yield* HealthServer.listen({ host: "127.0.0.1", port: 0, checks: () => checks })
        yield* Effect.promise(() => body(`http://127.0.0.1:${port}`))
      })
    )
  )

const look = async (url: string) => {
  const response = await fetch(url)
  return { code: response.status, ...JSON.parse(await response.text()) }
}

const check = (name: string, look: HealthServer.Check["look"]): HealthServer.Check => ({ name, look })

describe("a health port", () => {
  it("H2: every check that did not pass is told with its reason, one that passes or was never made is not", () => {
    let reason: string | undefined = "nobody owns it"
    const checks = [
      check(
        "shards",
        Effect.sync(() => reason)
      ),
      check("fabric", Effect.succeed(undefined))
    ]
    return withServer(checks, async (url) => {
      const reasons = [{ check: "shards", reason: "nobody owns it" }]
      const before = await look(`${url}/readyz`)
      assert.deepInclude(before, { code: 503, status: "not-ready", reasons })
      checks.push(check("leader", Effect.succeed("nobody leads")))
      const both = await look(`${url}/readyz`)
      assert.deepStrictEqual(both.reasons, [...reasons, { check: "leader", reason: "nobody leads" }])
      checks.pop()
      reason = undefined
      assert.deepInclude(await look(`${url}/readyz`), { code: 200, status: "ready", reasons: [] })
      assert.strictEqual((await fetch(`${url}/readyz`)).headers.get("cache-control"), "no-store")
    })
  })

  it("H2: a check that hangs or breaks has not passed; H1: it is alive all the same", () =>
    withServer(
      [check("hangs", Effect.never), check("breaks", Effect.die(new Error("broken by the test")))],
      async (url) => {
        const ready = fetch(`${url}/readyz`)
        assert.strictEqual((await fetch(`${url}/healthz?from=a-balancer`)).status, 200)
        const answer = await ready
        assert.strictEqual(answer.status, 503)
        assert.deepStrictEqual(JSON.parse(await answer.text()).reasons, [
          { check: "hangs", reason: "no answer within 2000 ms" },
          { check: "breaks", reason: "Error: broken by the test" }
        ])
      }
    ))

  it("tells what it has where it is asked for something else", () =>
    withServer([], async (url) => {
      const response = await fetch(`${url}/metrics`)
      assert.strictEqual(response.status, 404)
      assert.deepStrictEqual(JSON.parse(await response.text()).routes, ["/healthz", "/readyz"])
    }))
})
