import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import * as AdminToken from "./AdminToken.ts"

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "millrace-token-"))
})
afterEach(() => rmSync(directory, { recursive: true }))

const load = (at = directory) => Effect.runPromise(AdminToken.load(at))
const refusal = async () => (await Effect.runPromise(Effect.flip(AdminToken.load(directory)))).message

describe("the admin token", () => {
  it("is made once, for its owner only, and kept", async () => {
    const nested = join(directory, "a", "b")
    const token = await load(nested)
    assert.match(token, /^[A-Za-z0-9_-]{43}$/)
    assert.strictEqual(statSync(join(nested, "admin-token")).mode & 0o777, 0o600)
    assert.strictEqual(await load(nested), token)
    assert.deepStrictEqual(readdirSync(nested), ["admin-token"])
  })

  it("of several starts at once all get the same one", async () => {
    const tokens = await Promise.all(Array.from({ length: 10 }, () => load()))
    assert.strictEqual(new Set(tokens).size, 1)
    assert.strictEqual(readFileSync(join(directory, "admin-token"), "utf8").trim(), tokens[0])
  })

  it("is refused when others can read it, with the command that mends it", async () => {
    await load()
    chmodSync(join(directory, "admin-token"), 0o644)
    assert.include(await refusal(), `chmod 600 ${join(directory, "admin-token")}`)
  })

  it.each(["", "short", `${"A".repeat(42)}=`])("is refused when it is %j", async (content) => {
    writeFileSync(join(directory, "admin-token"), content, { mode: 0o600 })
    assert.include(await refusal(), "delete it")
  })

  it("is compared as a whole", () => {
    const token = "A".repeat(43)
    assert.isTrue(AdminToken.equals(token, token))
    for (const wrong of ["", "A", token.slice(1), `${token}A`, `${token.slice(1)}B`]) {
      assert.isFalse(AdminToken.equals(wrong, token), wrong)
    }
  })
})
