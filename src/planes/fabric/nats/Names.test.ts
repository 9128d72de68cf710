import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Names from "./Names.ts"

/** Characters that mean something to NATS, to the encoding, or that two disks tell apart differently. */
const text = fc.string({ unit: fc.constantFrom("a", "A", "b", "/", ".", "*", ">", "_", "=", "-", " ", "5", "f", "é") })

describe("names", () => {
  it("N1: different names stay different, also without regard to case, and fit into a stream's name", () => {
    fc.assert(
      fc.property(text, text, fc.integer({ min: 1, max: 40 }), (one, other, times) => {
        const [left, right] = [one.repeat(times), other.repeat(times)].map(Names.token)
        assert.strictEqual(left!.toLowerCase() === right!.toLowerCase(), one.repeat(times) === other.repeat(times))
        assert.match(left!, /^[a-z0-9_-]{0,120}$/)
      })
    )
  })

  it("N2, N3: a key comes back from its subject, which is one, and the filter of each of its prefixes matches it", () => {
    fc.assert(
      fc.property(text, fc.nat({ max: 20 }), (key, length) => {
        const subject = Names.keySubject(key)
        assert.strictEqual(Names.keyOf(subject), key)
        assert.isTrue(Names.isSubject(subject))
        assert.match(subject, /^[-/=.\w]+$/)
        const filter = Names.keyFilter([...key].slice(0, length).join(""))
        assert.isTrue(filter === ">" || subject.startsWith(filter.slice(0, -1)), `${filter} does not match ${subject}`)
      })
    )
  })

  it("a name with a wildcard, a blank or an empty part is no subject, and a filter may have wildcards", () => {
    for (const name of ["", "a..b", ".a", "a.*", "a.>", "a b", "a\n", "x".repeat(401)]) {
      assert.isFalse(Names.isSubject(name), name)
    }
    for (const name of ["a.*.b", "a.>", "*", "a"]) assert.isTrue(Names.isFilter(name), name)
    for (const name of ["a.>.b", "", "a..>"]) assert.isFalse(Names.isFilter(name), name)
  })
})
