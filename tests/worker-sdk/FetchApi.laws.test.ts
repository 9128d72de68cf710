import fc from "fast-check"
import { assert, describe, it } from "vitest"
import { LightHeaders } from "../../src/worker-sdk/fetch-api/LightHeaders.ts"
import { LightRequest } from "../../src/worker-sdk/fetch-api/LightRequest.ts"
import { LightResponse } from "../../src/worker-sdk/fetch-api/LightResponse.ts"

/** What a run of code gives or how it refuses; the kind of error counts, its words do not. */
const outcome = <Value>(run: () => Value): unknown => {
  try {
    return { value: run() }
  } catch (error) {
    return { thrown: error instanceof Error ? error.name : String(error) }
  }
}

const outcomeOf = async <Value>(run: () => Promise<Value>): Promise<unknown> => {
  try {
    return { value: await run() }
  } catch (error) {
    return { thrown: error instanceof Error ? error.name : String(error) }
  }
}

const name = fc.constantFrom("a", "A", "content-type", "Set-Cookie", "set-cookie", "x-ä", "", "b c", "Z", "x_y")
const value = fc.constantFrom("1", " 2 ", "", "a, b", "ä", "日", "x\ny", "\tz\r\n", "v\0", "q=0.5")

type Change = readonly ["append" | "set" | "delete" | "get" | "has", string, string]

const change: fc.Arbitrary<Change> = fc.tuple(
  fc.constantFrom("append" as const, "set" as const, "delete" as const, "get" as const, "has" as const),
  name,
  value
)

const apply = (headers: Headers, [verb, key, text]: Change): unknown =>
  outcome(() => {
    if (verb === "append" || verb === "set") return headers[verb](key, text)
    return headers[verb](key)
  })

const bodyText = (response: Response) => outcomeOf(() => response.text())

describe("light headers", () => {
  it("F1: any run of calls gives what Node's Headers give", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
        const light = new LightHeaders()
        const native = new Headers()
        for (const step of changes) assert.deepStrictEqual(apply(light, step), apply(native, step), String(step))
        assert.deepStrictEqual([...light], [...native])
        assert.deepStrictEqual([...light.keys()], [...native.keys()])
        assert.deepStrictEqual([...light.values()], [...native.values()])
        assert.deepStrictEqual(light.getSetCookie(), native.getSetCookie())
        // Through their entries, as the standard copies: a value that ends in white space is trimmed on the way.
        const copied = [...new Headers([...native])]
        assert.deepStrictEqual([...new Headers(light)], copied)
        assert.deepStrictEqual([...new LightHeaders(native)], copied)
      }),
      { numRuns: 1000 }
    )
  })

  it("F2: any way to construct them gives what Node's give", () => {
    const inits: ReadonlyArray<unknown> = [
      undefined,
      {},
      { B: "2", a: "1" },
      [
        ["set-cookie", "a=1"],
        ["Set-Cookie", "b=2"],
        ["x", "y"]
      ],
      [["odd"]],
      new Map([["m", "1"]]),
      new Headers({ n: "1" }),
      null,
      7,
      { "bad name": "x" },
      { n: 5 }
    ]
    for (const init of inits) {
      // Wrong types are part of what is compared.
      const given = init as Record<string, string>
      assert.deepStrictEqual(
        outcome(() => [...new LightHeaders(given)]),
        outcome(() => [...new Headers(given)]),
        String(init)
      )
    }
  })

  it("F3: instanceof is true for both kinds under both names", () => {
    assert(new LightHeaders() instanceof Headers)
    assert(new LightHeaders() instanceof LightHeaders)
    assert(new Headers() instanceof LightHeaders)
    assert(!({} instanceof LightHeaders))
    assert.strictEqual(Object.prototype.toString.call(new LightHeaders()), "[object Headers]")
  })
})

describe("light response", () => {
  const bodies: ReadonlyArray<() => unknown> = [
    () => undefined,
    () => null,
    () => "",
    () => "text ä",
    () => "lone \ud800 surrogate",
    () => "\ufeffwith a mark",
    () => new Uint8Array([1, 2, 255]),
    () => new Uint8Array([0xef, 0xbb, 0xbf, 65]),
    () => new Uint8Array([1, 2, 3, 4]).subarray(1, 3),
    () => new Uint16Array([300, 2]),
    () => new Uint8Array([9, 8]).buffer,
    () => new URLSearchParams({ a: "b c" }),
    () => new Blob(["blob"], { type: "text/x" }),
    () => ReadableStream.from([new TextEncoder().encode("streamed "), new TextEncoder().encode("text")]),
    () => ({ toString: () => "an object" }),
    () => 42
  ]
  const inits: ReadonlyArray<unknown> = [
    undefined,
    {},
    { status: 201, statusText: "Made" },
    { status: 204 },
    { status: 99 },
    { status: 600 },
    { statusText: "bad\nphrase" },
    { headers: { "content-type": "image/png", "x-a": "1" } },
    {
      headers: [
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"]
      ]
    }
  ]

  it("F4: every kind of body with every init is what Node's Response makes of it", async () => {
    for (const body of bodies) {
      for (const init of inits) {
        const build = async (kind: typeof Response | typeof LightResponse) => {
          // Wrong types are part of what is compared.
          const response: Response = new kind(body() as string, init as ResponseInit)
          const { status, statusText, ok, type, url, redirected } = response
          const before = [status, statusText, ok, type, url, redirected, [...response.headers], response.bodyUsed]
          const copy = response.clone()
          return [before, await bodyText(response), response.bodyUsed, await bodyText(response), await bodyText(copy)]
        }
        const light = await outcomeOf(() => build(LightResponse))
        const native = await outcomeOf(() => build(Response))
        assert.deepStrictEqual(light, native, `${body.toString()} with ${JSON.stringify(init)}`)
      }
    }
  })

  it("F5: each way to read a body gives what Node's Response gives", async () => {
    for (const body of ['{"a":[1]}', "no json", "ä", ""]) {
      for (const read of ["text", "json", "bytes", "arrayBuffer", "blob", "formData"] as const) {
        const init = { headers: { "content-type": "application/x-www-form-urlencoded" } }
        const seen = async (response: Response) => {
          const result: unknown = await response[read]()
          if (result instanceof Blob) return [await result.text(), result.type]
          if (result instanceof FormData) return [...result]
          return result instanceof ArrayBuffer ? [...new Uint8Array(result)] : result
        }
        assert.deepStrictEqual(
          await outcomeOf(() => seen(new LightResponse(body, init))),
          await outcomeOf(() => seen(new Response(body, init))),
          `${read} of ${body}`
        )
      }
    }
  })

  it("F6: the static makers give what Node's give", async () => {
    const makers: ReadonlyArray<(kind: typeof Response) => Response> = [
      (kind) => kind.json({ a: 1 }),
      (kind) => kind.json(undefined),
      (kind) => kind.json([], { status: 400, headers: { "content-type": "application/problem+json" } }),
      (kind) => kind.redirect("http://a.example/x"),
      (kind) => kind.redirect("http://a.example/x", 308),
      (kind) => kind.redirect("http://a.example/x", Number("200") as 302),
      (kind) => kind.error()
    ]
    for (const make of makers) {
      const seen = async (kind: typeof Response) => {
        const response = make(kind)
        return [response.status, response.type, [...response.headers], await response.text()]
      }
      // The light class has every member that the makers use.
      const light = LightResponse as unknown as typeof Response
      assert.deepStrictEqual(await outcomeOf(() => seen(light)), await outcomeOf(() => seen(Response)), make.toString())
    }
  })

  it("F7: a class may extend it, and instanceof stays true for both kinds", () => {
    class Problem extends LightResponse {}
    const problem = new Problem("p", { status: 400 })
    assert(problem instanceof Problem && problem instanceof LightResponse && problem instanceof Response)
    assert(new Response() instanceof LightResponse)
    assert(!({} instanceof LightResponse))
  })
})

describe("light request", () => {
  const make = (method: string, path: string, body: Uint8Array | null, host = "f.example:8787") =>
    new LightRequest({
      method,
      path,
      headers: [
        ["host", host],
        ["content-type", "application/json"],
        ["x-a", "1"],
        ["x-a", "2"]
      ],
      body,
      signal: () => new AbortController().signal
    })

  it("F8: its url is what URL parsing makes of host and path", () => {
    const segment = fc.constantFrom("a", "..", ".", "%2e", "ä", "b c", "", "x'y", "?q=1&r=<>", "#f", "\\", "a:b", "//h")
    const host = fc.constantFrom("f.example", "F.Example", "a:80", "a:8787", "127.1", "[::1]:1", "bad host", "x_y", "")
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 5 }), host, (segments, name) => {
        const path = `/${segments.join("/")}`
        const origin = URL.canParse(`http://${name}/`) ? `http://${name}` : "http://localhost"
        const expected = URL.canParse(origin + path) ? new URL(origin + path).href : `${origin}/`
        assert.strictEqual(make("GET", path, null, name).url, expected)
      }),
      { numRuns: 2000 }
    )
  })

  it("F9: it reads as Node's Request does, in every way", async () => {
    const body = new TextEncoder().encode('{"a":"ä"}')
    for (const read of ["text", "json", "bytes", "arrayBuffer"] as const) {
      const native = new Request("http://f.example:8787/p", { method: "POST", body })
      const light = make("POST", "/p", body)
      const seen = async (request: Request) => {
        const result: unknown = await request[read]()
        return [
          result instanceof ArrayBuffer ? [...new Uint8Array(result)] : result,
          request.bodyUsed,
          await outcomeOf(() => request.text())
        ]
      }
      assert.deepStrictEqual(await seen(light), await seen(native), read)
    }
    const properties = ["cache", "credentials", "destination", "duplex", "integrity", "keepalive", "mode"] as const
    const native = new Request("http://f.example:8787/p", { method: "POST", body })
    for (const key of [...properties, "redirect", "referrer", "referrerPolicy", "method", "url"] as const) {
      assert.strictEqual(make("POST", "/p", body)[key], native[key], key)
    }
    assert.strictEqual(make("GET", "/p", null).body, null)
  })

  it("F10: a clone has the same body, and its headers are its own", async () => {
    const light = make("POST", "/p", new TextEncoder().encode("twice"))
    const copy = light.clone()
    copy.headers.set("x-a", "3")
    assert.deepStrictEqual([await light.text(), await copy.text()], ["twice", "twice"])
    assert.deepStrictEqual([light.headers.get("x-a"), copy.headers.get("x-a")], ["1, 2", "3"])
    assert.throws(() => light.clone(), TypeError)
  })

  it("F11: it is a Request, and Node's own request can be made of it with everything in it", async () => {
    const light = make("POST", "/p?q", new TextEncoder().encode("body"))
    assert(light instanceof Request)
    const native = LightRequest.toNative(light)
    assert(native instanceof Request)
    assert.deepStrictEqual(
      [native.method, native.url, native.headers.get("x-a"), await native.text()],
      ["POST", "http://f.example:8787/p?q", "1, 2", "body"]
    )
    assert.strictEqual(light.bodyUsed, true)
  })
})
