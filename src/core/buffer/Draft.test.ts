import { assert, describe, it } from "vitest"
import * as Table from "../collections/Table.ts"
import { defaults } from "./BufferOptions.ts"
import { empty, emptyVersion, nextState } from "./BufferState.ts"
import * as Draft from "./Draft.ts"

describe("a draft", () => {
  it("stops where an index names what is not there", () => {
    const draft = Draft.make(nextState(empty(defaults)), 0)
    const broken = [
      [() => Draft.version(draft, 1), "a touched version is in its table"],
      [() => Draft.tenant(draft, 1), "a touched tenant is in its table"],
      [() => Draft.worker(draft, 1), "a touched worker is in its table"],
      [() => Draft.known(draft, 1), "a request that an index names is there"]
    ] as const
    for (const [look, message] of broken) assert.throws(look, `invariant broken: ${message}`)
  })

  it("opens a version once, however many are opened", () => {
    const draft = Draft.make(nextState(empty(defaults)), 0)
    const numbers = Array.from({ length: 40 }, (_, number) => number)
    for (const number of numbers) {
      const name = `v${number}`
      draft.state.versions = Table.add(draft.state.versions, name, emptyVersion(name))
    }
    for (const number of [...numbers, ...numbers]) Draft.version(draft, number)
    assert.strictEqual(draft.versions?.count, 40)
  })
})
