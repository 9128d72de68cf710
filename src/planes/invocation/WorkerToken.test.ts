import { randomBytes } from "node:crypto"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as WorkerToken from "./WorkerToken.ts"

const secret = randomBytes(32)
const claims = { instanceId: "i", functionId: "f", versionId: "v", expiresAtMs: 1_000 }

describe("a worker token", () => {
  it("proves its claims until it expires", () => {
    const token = WorkerToken.issue(secret, claims)
    expect(WorkerToken.verify(secret, token, 999)).toEqual(claims)
    expect(WorkerToken.verify(secret, token, 1_000)).toBeUndefined()
    expect(WorkerToken.verify(randomBytes(32), token, 0)).toBeUndefined()
  })

  it("is void after any change of a character", () => {
    const token = WorkerToken.issue(secret, claims)
    fc.assert(
      fc.property(fc.nat(token.length - 2), fc.constantFrom("A", "b", "0", ".", "-"), (at, character) => {
        fc.pre(token[at] !== character)
        const changed = token.slice(0, at) + character + token.slice(at + 1)
        expect(WorkerToken.verify(secret, changed, 0)).toBeUndefined()
      })
    )
  })

  it("takes any text without throwing", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(WorkerToken.verify(secret, text, 0)).toBeUndefined()
      })
    )
    expect(WorkerToken.verify(secret, `mw1.${"a".repeat(5000)}.b`, 0)).toBeUndefined()
  })
})
