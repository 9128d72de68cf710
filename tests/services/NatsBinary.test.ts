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
  it("one on the PATH that is too old is passed over for the one in the cache", () =>
    inFolder(async (folder) => {
      const environment = { PATH: join(folder, "bin"), XDG_CACHE_HOME: join(folder, "cache") }
      await program(join(folder, "bin"), "2.9.10")
      assert.isUndefined(NatsBinary.locate(environment))
      await program(join(folder, "bin"), `${NatsBinary.pinnedVersion}-RC.1`)
      assert.isUndefined(NatsBinary.locate(environment))
      await program(NatsBinary.cacheFolder(environment), NatsBinary.pinnedVersion)
      assert.strictEqual(NatsBinary.locate(environment)?.how, "cache")
      await program(join(folder, "bin"), "99.0.0")
      assert.strictEqual(NatsBinary.locate(environment)?.how, "PATH")
    }))

  const architecture = process.arch === "x64" ? "amd64" : process.arch
  const releaseName = `nats-server-v${NatsBinary.pinnedVersion}-${process.platform}-${architecture}`

  /** With these variables of the process, and as they were afterwards. */
  const withEnvironment = async (changes: Readonly<Record<string, string>>, body: () => Promise<void>) => {
    const before = { ...process.env }
    Object.assign(process.env, changes)
    try {
      await body()
    } finally {
      for (const name of Object.keys(changes)) {
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
      }
    }
  }

  /** With a cache in this folder, and releases on loopback that hold this archive and tell this sum. */
  const withRelease = async (folder: string, archive: Buffer, sum: string, body: (url: string) => Promise<void>) => {
    const server = createServer((request, response) => {
      response.end(request.url?.endsWith("SHA256SUMS") === true ? `${sum}  ${releaseName}.tar.gz\n` : archive)
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    try {
      // A listening server has an address with a port.
      const { port } = server.address() as AddressInfo
      await withEnvironment({ XDG_CACHE_HOME: folder }, () => body(`http://127.0.0.1:${port}`))
    } finally {
      server.close()
    }
  }

  const sumOf = (content: string | Buffer) => createHash("sha256").update(content).digest("hex")

  const packed = async (folder: string): Promise<Buffer> => {
    await program(join(folder, releaseName), NatsBinary.pinnedVersion)
    const path = join(folder, "release.tar.gz")
    execFileSync("tar", ["-czf", path, "-C", folder, releaseName])
    return fs.readFile(path)
  }

  /** A `go` that says what it was told, then does this. */
  const go = async (folder: string, script: string) => {
    await fs.rm(folder, { recursive: true, force: true })
    await fs.mkdir(folder, { recursive: true })
    // These and no more of this machine, which may have a nats-server.
    for (const tool of ["chmod", "gzip", "nice", "tar"]) {
      const path = execFileSync("sh", ["-c", `command -v ${tool}`], { encoding: "utf8" }).trim()
      await fs.symlink(path, join(folder, tool))
    }
    const told = join(folder, "told")
    await fs.writeFile(join(folder, "go"), `#!/bin/sh\necho "$@" > ${told}\n${script}\n`, { mode: 0o755 })
    return () => fs.readFile(told, "utf8")
  }

  it("where there is none it is built with Go, of the pinned version; else the release is fetched; else both are told", () =>
    inFolder(async (folder) => {
      const archive = await packed(folder)
      const bin = join(folder, "bin")
      const nats = "$GOBIN/nats-server"
      const builds = `printf '#!/bin/sh\\necho nats-server: v${NatsBinary.pinnedVersion}\\n' > ${nats}; chmod +x ${nats}`
      const obtained = (cache: string, sum: string, body: (url: string) => Promise<void>) =>
        withRelease(join(folder, cache), archive, sum, (url) => withEnvironment({ PATH: bin }, () => body(url)))
      const said: Array<string> = []
      const obtain = (url: string) => NatsBinary.obtain((line) => said.push(line), url)

      const told = await go(bin, builds)
      await obtained("first", "", async (url) => {
        assert.strictEqual((await obtain(url)).how, "go")
        assert.strictEqual(
          (await told()).trim(),
          `install github.com/nats-io/nats-server/v2@v${NatsBinary.pinnedVersion}`
        )
        assert.strictEqual((await obtain(url)).how, "cache")
      })
      await go(bin, "echo no network >&2; exit 1")
      await obtained("second", sumOf(archive), async (url) => {
        assert.strictEqual((await obtain(url)).how, "release")
      })
      await obtained("third", sumOf("another"), async (url) => {
        let message = ""
        await obtain(url).catch((error: Error) => {
          message = error.message
        })
        assert.match(message, /no nats-server .* can be had \(go: .*; release: .*SHA-256/)
      })
      assert.deepStrictEqual(
        said.map((line) => line.split(" ")[0]),
        ["building", "building", "downloading", "building", "downloading"]
      )
    }))

  it("a release is unpacked into the cache, where it is found from then on", () =>
    inFolder(async (folder) => {
      const archive = await packed(folder)
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
