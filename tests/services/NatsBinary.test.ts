import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { assert, describe, it } from "vitest"
import * as NatsBinary from "./NatsBinary.ts"

const inFolder = async (body: (folder: string) => Promise<void>) => {
  const folder = await fs.mkdtemp(join(tmpdir(), "millrace-services-"))
  try {
    await body(folder)
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

const program = async (folder: string, version: string) => {
  await fs.mkdir(folder, { recursive: true })
  await fs.writeFile(join(folder, "nats-server"), `#!/bin/sh\necho nats-server: v${version}\n`, { mode: 0o755 })
}

describe("where a nats-server comes from", () => {
  it("versions are compared number by number", () => {
    assert.isBelow(NatsBinary.compareVersions("2.9.10", "2.12.7"), 0)
    assert.isAbove(NatsBinary.compareVersions("2.15.10", "2.15.9"), 0)
    assert.strictEqual(NatsBinary.compareVersions("2.15.2", "2.15.2"), 0)
  })

  it("one on the PATH that is too old is passed over for the one in the cache", () =>
    inFolder(async (folder) => {
      const environment = { PATH: join(folder, "bin"), XDG_CACHE_HOME: join(folder, "cache") }
      await program(join(folder, "bin"), "2.9.10")
      assert.isUndefined(NatsBinary.locate(environment))
      await program(NatsBinary.cacheFolder(environment), NatsBinary.pinnedVersion)
      assert.strictEqual(NatsBinary.locate(environment)?.how, "cache")
      await program(join(folder, "bin"), "99.0.0")
      assert.strictEqual(NatsBinary.locate(environment)?.how, "PATH")
    }))

  const architecture = process.arch === "x64" ? "amd64" : process.arch
  const releaseName = `nats-server-v${NatsBinary.pinnedVersion}-${process.platform}-${architecture}`

  /** With a cache in this folder, and releases on loopback that hold this archive and tell this sum. */
  const withRelease = async (folder: string, archive: Buffer, sum: string, body: (url: string) => Promise<void>) => {
    const before = process.env["XDG_CACHE_HOME"]
    process.env["XDG_CACHE_HOME"] = folder
    const server = createServer((request, response) => {
      response.end(request.url?.endsWith("SHA256SUMS") === true ? `${sum}  ${releaseName}.tar.gz\n` : archive)
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    try {
      // A listening server has an address with a port.
      const { port } = server.address() as AddressInfo
      await body(`http://127.0.0.1:${port}`)
    } finally {
      if (before === undefined) delete process.env["XDG_CACHE_HOME"]
      else process.env["XDG_CACHE_HOME"] = before
      server.close()
    }
  }

  const sumOf = (content: string | Buffer) => createHash("sha256").update(content).digest("hex")

  it("a release is unpacked into the cache, where it is found from then on", () =>
    inFolder(async (folder) => {
      await program(join(folder, releaseName), NatsBinary.pinnedVersion)
      const packed = join(folder, "release.tar.gz")
      execFileSync("tar", ["-czf", packed, "-C", folder, releaseName])
      const archive = await fs.readFile(packed)
      await withRelease(folder, archive, sumOf(archive), async (url) => {
        const path = await NatsBinary.downloadRelease(url)
        assert.deepStrictEqual(await fs.readdir(NatsBinary.cacheFolder()), ["nats-server"])
        const found = NatsBinary.locate({ PATH: "", XDG_CACHE_HOME: folder })
        assert.deepStrictEqual(found, { path, version: NatsBinary.pinnedVersion, how: "cache" })
      })
    }))

  it("a release whose SHA-256 is another one is refused and leaves nothing in the cache", () =>
    inFolder(async (folder) => {
      const sum = sumOf("what the release holds")
      await withRelease(folder, gzipSync("not what the release holds"), sum, async (url) => {
        let message = ""
        await NatsBinary.downloadRelease(url).catch((error: Error) => {
          message = error.message
        })
        assert.include(message, sum)
        assert.deepStrictEqual(await fs.readdir(NatsBinary.cacheFolder()), [])
      })
    }))
})
