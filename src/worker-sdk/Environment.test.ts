import { assert, describe, it } from "vitest"
import * as Environment from "./Environment.ts"

const readUrl = (url: string): string => {
  const read = Environment.read({ MILLRACE_WORKER_URL: url })
  return "_tag" in read ? read.message : read.url
}

describe("environment of a worker", () => {
  it("takes one address, or those of several gateways", () => {
    const taken = [
      "ws://127.0.0.1:8789",
      "grpc://gateway:8789",
      "unix:/run/millrace/w.sock",
      "ws://10.0.0.1:8789,ws://10.0.0.2:8789",
      "grpc://10.0.0.1:8789, grpcs://10.0.0.2:8789"
    ]
    assert.deepStrictEqual(taken.map(readUrl), taken)
  })

  it("names the address among several that is none", () => {
    for (const url of ["ws://10.0.0.1:8789,", "ws://10.0.0.1:8789,ftp://x", "ws://10.0.0.1:8789,unix:relative"]) {
      const wrong = url.slice(url.indexOf(",") + 1)
      assert.include(readUrl(url), `MILLRACE_WORKER_URL holds "${wrong}"; it must be`)
    }
    assert.include(readUrl("gateway:8789"), 'MILLRACE_WORKER_URL is "gateway:8789"; it must be')
  })

  it("refuses a mixture of transports, of which a worker speaks one", () => {
    assert.include(readUrl("ws://10.0.0.1:8789,grpc://10.0.0.2:8789"), "must all be gRPC's, or none")
  })
})
