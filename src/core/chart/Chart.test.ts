import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { Chart, HealthPath, healthPathDefault, manifestsLengthMax, Port } from "./Chart.ts"

const entry = { serviceName: "front", servicePort: 80 }
const rendered = { ...entry, manifests: "a" }
const fetched = { ...entry, url: "oci://a/b-1.tgz" }
const refusal =
  (schema: Schema.Decoder<unknown>) =>
  (value: unknown): string => {
    try {
      Schema.decodeUnknownSync(schema)(value)
      return ""
    } catch (error) {
      return String(error)
    }
  }
const refused = refusal(Chart)
const taken = (value: unknown) => assert.strictEqual(refused(value), "")

describe("a chart", () => {
  it("has a url or manifests, and values only for what is rendered yet", () => {
    taken(rendered)
    taken({ ...fetched, values: { a: [1, null] } })
    for (const both of [entry, { ...rendered, ...fetched }]) {
      assert.match(refused(both), /a chart has a url or manifests, one of the two\n\s+at \["manifests"\]/)
    }
    assert.match(refused({ ...rendered, values: {} }), /rendered manifests take no values\n\s+at \["values"\]/)
  })

  it("no part of it is longer than it may be", () => {
    const url = (length: number) => ({ ...entry, url: "a".repeat(length) })
    taken(url(2_048))
    assert.notStrictEqual(refused(url(2_049)), "")
    taken({ ...entry, manifests: "a".repeat(manifestsLengthMax) })
    assert.notStrictEqual(refused({ ...entry, manifests: "a".repeat(manifestsLengthMax + 1) }), "")
    // {"a":""} has eight characters.
    const values = (length: number) => ({ ...fetched, values: { a: "b".repeat(length - 8) } })
    taken(values(65_536))
    assert.match(
      refused(values(65_537)),
      /they are 65537 characters of JSON, and 65536 are the most\n\s+at \["values"\]/
    )
  })

  it("its Service is one that Kubernetes can name", () => {
    const named = (serviceName: string) => refused({ ...rendered, serviceName })
    for (const name of ["a", "a1", "a-b", "a".repeat(63)]) assert.strictEqual(named(name), "")
    for (const name of ["", "1a", "-a", "a-", "A", "a.b", "a".repeat(64), "a\n"]) {
      assert.match(
        named(name),
        /expected the name of a Service: 1 to 63 of a-z, 0-9 and -, a letter first, not - at the end/
      )
    }
  })

  it("its port is one, and its health path is a path", () => {
    const port = refusal(Port)
    for (const value of [1, 65_535]) assert.strictEqual(port(value), "")
    for (const value of [0, 65_536, 1.5, "80"]) assert.notStrictEqual(port(value), "")
    const path = refusal(HealthPath)
    for (const value of ["/", healthPathDefault, `/${"a".repeat(2_047)}`, "/!~"]) assert.strictEqual(path(value), "")
    for (const value of ["", "a", "a/", "/ ", "/\u007f", `/${"a".repeat(2_048)}`])
      assert.notStrictEqual(path(value), "")
    assert.strictEqual(healthPathDefault, "/v2/health/ready")
    taken({ ...rendered, healthPath: "/a" })
    assert.notStrictEqual(refused({ ...rendered, healthPath: "a" }), "")
    assert.strictEqual(
      Schema.resolveAnnotations(HealthPath)?.description,
      "begins with /; visible ASCII, at most 2048 characters"
    )
  })

  it("its policy is one of two, and allows 1 to 100 kinds beyond, each by group, version and kind", () => {
    const extra = { group: "a.test", version: "v1", kind: "Graph" }
    const policy = (name: string, extraKubernetesTypes: ReadonlyArray<object>) =>
      refused({ ...rendered, validationPolicy: { name, extraKubernetesTypes } })
    for (const name of ["Default", "Unrestricted"]) {
      taken({ ...rendered, validationPolicy: { name } })
      assert.strictEqual(policy(name, Array(100).fill(extra)), "")
    }
    assert.notStrictEqual(policy("Other", [extra]), "")
    assert.notStrictEqual(policy("Default", []), "")
    assert.notStrictEqual(policy("Default", Array(101).fill(extra)), "")
    const lengths = { group: 253, version: 63, kind: 63 }
    for (const [field, max] of Object.entries(lengths)) {
      assert.strictEqual(policy("Default", [{ ...extra, [field]: "a".repeat(max) }]), "")
      for (const word of ["a".repeat(max + 1), "a b", " a", "a "]) {
        assert.notStrictEqual(policy("Default", [{ ...extra, [field]: word }]), "")
      }
      const { [field]: _, ...rest } = extra as Record<string, string>
      assert.notStrictEqual(policy("Default", [rest]), "")
    }
    assert.strictEqual(policy("Default", [{ ...extra, group: "" }]), "")
  })
})
