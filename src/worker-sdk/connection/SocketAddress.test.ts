import { describe, expect, it } from "vitest"
import * as SocketAddress from "./SocketAddress.ts"

describe("the address of a socket", () => {
  it("has one slash or three, and its path is taken as it stands", () => {
    expect(SocketAddress.pathOf("unix:/run/millrace/worker.sock")).toBe("/run/millrace/worker.sock")
    expect(SocketAddress.pathOf("unix:///run/a b%20c?d#é\n")).toBe("/run/a b%20c?d#é\n")
    expect(SocketAddress.pathOf("grpc+unix:/run/x")).toBe("/run/x")
  })

  it("is neither a port, a relative path nor another protocol", () => {
    for (const address of [
      "ws://127.0.0.1:1",
      "unix:run/x",
      "unix://host/x",
      "unix:",
      "http+unix:/x",
      "/x",
      " unix:/x"
    ]) {
      expect(SocketAddress.pathOf(address), address).toBeUndefined()
      expect(SocketAddress.isGrpc(address), address).toBe(false)
    }
  })

  it("says whether gRPC is spoken there", () => {
    expect([SocketAddress.isGrpc("grpc+unix:/x"), SocketAddress.isGrpc("unix:/x")]).toEqual([true, false])
  })
})
