import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { afterEach, describe, expect, it } from "vitest"
import * as Render from "./Render.ts"

const chart = (host: string) => `https://${host}/charts/model-1.2.3.tgz`
const resolving =
  (...addresses: ReadonlyArray<string>) =>
  async () =>
    addresses
const entry = { serviceName: "a", servicePort: 80 }

describe("rendering of charts", () => {
  it("charts come from public places, by https or oci, named NAME-X.Y.Z.tgz", async () => {
    const ask = (url: string) => Render.refusalOf(url, resolving("203.0.113.7", "2001:db8::1"))
    expect(await ask(chart("charts.test"))).toBeUndefined()
    expect(await ask("oci://charts.test/model-1.2.3.tgz")).toBeUndefined()
    expect(await ask("http://charts.test/model-1.2.3.tgz")).toMatch(/https or oci/)
    expect(await ask("file:///etc/model-1.2.3.tgz")).toMatch(/https or oci/)
    expect(await ask("https://user:secret@charts.test/model-1.2.3.tgz")).toMatch(/no credentials/)
    expect(await ask("https://charts.test/model.tgz")).toMatch(/NAME-X\.Y\.Z/)
    expect(await ask("nonsense")).toMatch(/not a URL/)
    expect(await Render.refusalOf(chart("charts.test"), resolving())).toMatch(/cannot be resolved/)
  })

  it.each([
    "10.1.2.3",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "0.0.0.0",
    "::1",
    "fe80::1",
    "fd00::1",
    "::ffff:10.0.0.1"
  ])("one whose host is also %s is refused", async (address) => {
    expect(await Render.refusalOf(chart("charts.test"), resolving("203.0.113.7", address))).toMatch(/not public/)
  })

  it("an address in the URL itself is looked at as it is", async () => {
    expect(await Render.refusalOf(chart("127.0.0.1"))).toMatch(/not public/)
    expect(await Render.refusalOf(chart("[::1]"))).toMatch(/not public/)
  })

  it("an OCI reference has its version apart, hooks are left out, CRDs are seen", () => {
    expect(Render.helmArguments("oci://a.test/x/model-1.2.3.tgz").slice(2, 5)).toEqual([
      "oci://a.test/x/model",
      "--version",
      "1.2.3"
    ])
    expect(Render.helmArguments(chart("a.test"))).toEqual([
      ...["template", "mini-service", chart("a.test")],
      ...["--no-hooks", "--include-crds", "--values", "-"]
    ])
  })

  it("manifests are read as documents of YAML; what cannot be read is final", async () => {
    const manifests = "kind: A\n---\n# nothing\n---\nkind: B\n"
    const documents = await Effect.runPromise(Render.render({ ...entry, manifests }))
    expect(documents.filter((one) => one !== null && one !== undefined)).toEqual([{ kind: "A" }, { kind: "B" }])
    expect(await Effect.runPromise(Render.render({ ...entry, manifests: "on: 2001-01-01\n" }))).toEqual([
      { on: "2001-01-01" }
    ])
    const level = (name: string, of: string) => `${name}: &${name} [${Array(10).fill(`*${of}`).join(", ")}]\n`
    const bomb = `a: &a x\n${["b", "c", "d", "e", "f", "g", "h", "i"].map((name, i) => level(name, "abcdefgh"[i] ?? "")).join("")}`
    expect(await Effect.runPromise(Effect.flip(Render.render({ ...entry, manifests: bomb })))).toMatchObject({
      detail: expect.stringContaining("more than 1000000 values")
    })
    const bad = await Effect.runPromise(Effect.flip(Render.render({ ...entry, manifests: "a: [" })))
    expect(bad).toMatchObject({ isFinal: true })
  })

  describe("with a program of the name helm", () => {
    const path = process.env["PATH"]
    const directory = mkdtempSync(join(tmpdir(), "mr-helm-"))
    afterEach(() => {
      process.env["PATH"] = path
      rmSync(join(directory, "helm"), { force: true })
    })
    const install = (script: string) => {
      writeFileSync(join(directory, "helm"), `#!/bin/sh\n${script}\n`)
      chmodSync(join(directory, "helm"), 0o755)
      process.env["PATH"] = `${directory}:/usr/bin:/bin`
    }
    // An address of the documentation nets: nothing is fetched, the program is not helm.
    const url = chart("203.0.113.7")

    it("gives it the values and nothing of our environment, and reads what it prints", async () => {
      process.env["MILLRACE_TEST_SECRET"] = "of ours"
      install(`printf 'kind: "%s"\\nvalues: ' "$MILLRACE_TEST_SECRET"; cat`)
      const documents = await Effect.runPromise(Render.render({ ...entry, url, values: { a: 1 } }))
      delete process.env["MILLRACE_TEST_SECRET"]
      expect(documents).toEqual([{ kind: "", values: { a: 1 } }])
    })

    it("its failure is told with its words, and is tried again", async () => {
      install("echo no such chart >&2; exit 1")
      const failure = await Effect.runPromise(Effect.flip(Render.render({ ...entry, url })))
      expect(failure).toMatchObject({ isFinal: false, detail: expect.stringContaining("no such chart") })
    })

    it("without it, what to do is said", async () => {
      process.env["PATH"] = directory
      const failure = await Effect.runPromise(Effect.flip(Render.render({ ...entry, url })))
      expect(failure).toMatchObject({ isFinal: true, detail: expect.stringContaining("rendered manifests") })
    })
  })
})
