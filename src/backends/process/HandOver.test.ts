import { describe, expect, it } from "vitest"
import * as HandOver from "./HandOver.ts"

const zygote: HandOver.ZygoteCommand = {
  program: "/usr/bin/node",
  flags: ["--max-semi-space-size=64"],
  environment: { PATH: "/usr/bin", HOME: "/home/me", LANG: "C.UTF-8" }
}

const possible = (change: Partial<HandOver.Command>) =>
  HandOver.isPossible(
    {
      program: "/usr/bin/node",
      args: ["--max-semi-space-size=64", "./server.ts", "--port=1"],
      environment: zygote.environment,
      ...change
    },
    zygote
  )

const withVariables = (variables: Record<string, string>) =>
  possible({ environment: { ...zygote.environment, ...variables } })

describe("what a zygote may run", () => {
  it("is a file with its arguments, for the same Node with the same flags", () => {
    expect(possible({})).toBe(true)
    expect(possible({ args: ["--max-semi-space-size=64", "server", "-e", "inspect", ""] })).toBe(true)
  })

  it("is not another program, another flag, fewer flags or more", () => {
    expect(possible({ program: "/usr/local/bin/node" })).toBe(false)
    for (const args of [
      ["./server.ts"],
      ["--max-semi-space-size=32", "./server.ts"],
      ["--max-semi-space-size=64", "--inspect", "./server.ts"],
      ["--inspect", "--max-semi-space-size=64", "./server.ts"]
    ]) {
      expect(possible({ args }), args.join(" ")).toBe(false)
    }
  })

  it("is neither a text, standard input, the debugger nor nothing at all", () => {
    for (const rest of [["-e", "1"], ["-"], ["--", "a.js"], ["inspect", "a.js"], [""], []]) {
      expect(possible({ args: ["--max-semi-space-size=64", ...rest] }), rest.join(" ")).toBe(false)
    }
  })

  it("has no variable of its own that is read once, before a zygote could set it", () => {
    for (const name of [
      "NODE_OPTIONS",
      "NODE_PATH",
      "NODE_EXTRA_CA_CERTS",
      "NODE_ENVIRONMENT",
      "UV_THREADPOOL_SIZE",
      "LD_PRELOAD",
      "LC_ALL",
      "LANGUAGE",
      "SSL_CERT_FILE",
      "MALLOC_ARENA_MAX",
      "GLIBC_TUNABLES"
    ]) {
      expect(withVariables({ [name]: "x" }), name).toBe(false)
    }
    expect(withVariables({ LANG: "de_DE.UTF-8" })).toBe(false)
    expect(withVariables({ HOME: "/home/you" })).toBe(false)
    const { LANG: _, ...withoutLanguage } = zygote.environment
    expect(possible({ environment: withoutLanguage })).toBe(false)
  })

  it("may have any other variable, and other values of those that are read each time", () => {
    const variables = { PATH: "/opt", TZ: "Asia/Tokyo", NODE_ENV: "test", NODE_COMPILE_CACHE: "/tmp/x", SECRET: "=\n" }
    expect(withVariables(variables)).toBe(true)
  })

  it("has no text that the system would refuse, nor so much of it that it might", () => {
    expect(withVariables({ A: "a\0b" })).toBe(false)
    expect(withVariables({ "A=B": "c" })).toBe(false)
    expect(withVariables({ "": "c" })).toBe(false)
    expect(possible({ args: ["--max-semi-space-size=64", "a\0b"] })).toBe(false)
    expect(withVariables({ A: "x".repeat(60_000) })).toBe(true)
    expect(withVariables({ A: "x".repeat(70_000) })).toBe(false)
  })
})
