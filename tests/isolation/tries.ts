/**
 * What an instance must not be able to do, tried from inside. The script prints `tries ` and, as JSON, what became of each:
 * `done`, or the system's reason. The host's side of it (a file, a port, a process that is not to be reached) is real, so
 * that each try would be done if nothing hindered it.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Argument, program } from "./syscallProgram.ts"

export interface HostFacts {
  readonly secretFile: string
  readonly port: number
  readonly abstractSocket: string
  readonly pid: number
  /** In the environment of a process of the host. */
  readonly secret: string
  /** Sockets of a container engine, which would be the keys of the host. */
  readonly engineSockets: ReadonlyArray<string>
}

export interface Host extends HostFacts {
  readonly close: () => void
}

export const openHost = async (engineSockets: ReadonlyArray<string> = []): Promise<Host> => {
  const directory = mkdtempSync(join(tmpdir(), "mr-host-"))
  const secretFile = join(directory, "worker-secret")
  writeFileSync(secretFile, "of the host\n", { mode: 0o644 })
  const secret = `secret-of-the-host-${process.pid}`
  const keeper = spawn("sleep", ["3600"], { env: { MILLRACE_TEST_HOST_SECRET: secret } })
  const abstractSocket = `\0millrace-test-${process.pid}`
  const listen = (where: string | { readonly port: number; readonly host: string }): Promise<Server> =>
    new Promise((resolve) => {
      const server = createServer((socket) => socket.on("error", () => {}).end("welcome"))
      server.listen(where, () => resolve(server))
    })
  const servers = await Promise.all([listen({ port: 0, host: "127.0.0.1" }), listen(abstractSocket)])
  const address = servers[0].address()
  return {
    secretFile,
    port: typeof address === "object" && address !== null ? address.port : 0,
    abstractSocket,
    pid: keeper.pid ?? 0,
    secret,
    engineSockets: ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", ...engineSockets],
    close: () => {
      keeper.kill("SIGKILL")
      for (const server of servers) server.close()
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

/**
 * Tries in JavaScript: bodies of async functions with `host`, `fs`, `net`, `os`, `child`. One that returns has done it; one
 * that throws was refused.
 */
const scripts: Readonly<Record<string, string>> = {
  "read a file of the host": "fs.readFileSync(host.secretFile)",
  "list root's home": "if (fs.readdirSync('/root').length === 0) throw new Error('empty')",
  "read the host's password hashes": "fs.readFileSync('/etc/shadow')",
  "write a file beside the system's": "fs.writeFileSync('/made', 'x')",
  "add a user": "fs.appendFileSync('/etc/passwd', 'me::0:0::/:/bin/sh\\n')",
  "replace the Node that runs it": "fs.writeFileSync(process.execPath, 'x')",
  "write into the worker socket's folder": "fs.writeFileSync(host.socketFolder + '/made', 'x')",
  "remove the worker socket": "fs.unlinkSync(host.socketFolder + '/' + fs.readdirSync(host.socketFolder)[0])",
  "change the host's name through /proc": "fs.writeFileSync('/proc/sys/kernel/hostname', 'x')",
  "press the kernel's magic key": "fs.writeFileSync('/proc/sysrq-trigger', 'h')",
  "read the kernel's memory":
    "fs.openSync('/proc/kcore', 'r'); if (fs.readFileSync('/proc/kcore').length === 0) throw new Error('masked')",
  "open a disk":
    "fs.openSync(['/dev/vda', '/dev/sda', '/dev/nvme0n1'].find((disk) => fs.existsSync(disk)) ?? '/dev/none', 'r')",
  "open the machine's memory": "fs.openSync('/dev/mem', 'r')",
  "write to a cgroup":
    "for (const dir of fs.readdirSync('/sys/fs/cgroup')) fs.writeFileSync('/sys/fs/cgroup/' + dir + '/cgroup.procs', '0'); fs.writeFileSync('/sys/fs/cgroup/cgroup.procs', '0')",
  "find the host's environment in /proc": `const seen = fs.readdirSync('/proc').filter((name) => { try { return /^\\d+$/.test(name) && fs.readFileSync('/proc/' + name + '/environ', 'utf8').includes(host.secret) } catch { return false } }); if (seen.length === 0) throw new Error('none')`,
  "find another instance's environment in /proc": `const seen = fs.readdirSync('/proc').filter((name) => { try { return /^\\d+$/.test(name) && fs.readFileSync('/proc/' + name + '/environ', 'utf8').includes(host.neighbour) } catch { return false } }); if (seen.length === 0) throw new Error('none')`,
  "signal a process of the host": "process.kill(host.pid, 0)",
  "reach a port of the host's loopback": "await connect({ port: host.port, host: '127.0.0.1' })",
  "reach the internet": "await connect({ port: 53, host: '192.0.2.1' })",
  "have an address of its own":
    "if (!Object.values(os.networkInterfaces()).flat().some((one) => !one.internal)) throw new Error('loopback alone')",
  "reach an abstract socket of the host": "await connect({ path: host.abstractSocket })",
  "reach a container engine":
    "let reached; for (const path of host.engineSockets) await connect({ path }).then(() => (reached = path), () => {}); if (reached === undefined) throw new Error('none')",
  "become root": "process.setuid(0)",
  "join root's group": "process.setgid(0)",
  "take further groups": "process.setgroups([0, 6])",
  "give a file to root": "fs.writeFileSync('/tmp/mine', ''); fs.chownSync('/tmp/mine', 0, 0)",
  "run before everybody else": "os.setPriority(0, -20)",
  "fill its disk without end":
    "const file = fs.openSync('/tmp/full', 'w'); try { for (let i = 0; i < 256; i++) fs.writeSync(file, Buffer.alloc(1 << 20)) } finally { fs.closeSync(file); fs.unlinkSync('/tmp/full') }"
}

const CLONE_NEWUSER = 0x10000000
const PTRACE_ATTACH = 16

/** Tries that only the kernel can be asked for, as programs of one call. `pid`: of the host. */
const calls = (pid: number): Readonly<Record<string, readonly [number, ReadonlyArray<Argument>]>> => ({
  "mount a file system": [165, ["none", "/tmp", "tmpfs", 0, 0]],
  "unmount /proc": [166, ["/proc", 2]],
  "move its root": [155, ["/tmp", "/tmp"]],
  "change its root": [161, ["/tmp"]],
  "make a user namespace": [272, [CLONE_NEWUSER]],
  "make a network namespace": [272, [0x40000000]],
  "trace a process of the host": [101, [PTRACE_ATTACH, pid, 0, 0]],
  "rename the machine": [170, ["x", 1]],
  "load a module into the kernel": [175, ["x", 1, ""]],
  "start another kernel": [246, [0, 0, 0, 0]],
  "switch ctrl-alt-del on": [169, [0xfee1dead, 672274793, 0x89abcdef, 0]],
  "load a program into the kernel": [321, [5, "x".repeat(80), 72]],
  "keep a key in the kernel": [248, ["user", "x", "x", 1, -4]],
  "swap to a file": [167, ["/tmp/swap", 0]],
  "write accounts of processes": [163, ["/tmp/account"]],
  "make a device": [133, ["/tmp/disk", 0o60600, 0x800]],
  "open a file by its number": [304, [-100, "x".repeat(16), 0]],
  "use the machine's ports": [172, [3]]
})

/** Whether the programs of one call run on this machine. */
export const hasCalls = process.arch === "x64" && process.platform === "linux"

/** Programs by file name, in the order of their names. */
export const programs = ({ pid }: HostFacts): ReadonlyArray<{ readonly file: string; readonly content: Buffer }> =>
  Object.values(calls(pid)).map(([call, args], index) => ({ file: `try-${index}`, content: program(call, args) }))

export interface Inside {
  /** Folder of the programs. */
  readonly programs: string | undefined
  /** Folder of the worker socket. */
  readonly socketFolder: string
  /** In the environment of another instance that runs. */
  readonly neighbour: string
  /** Only these tries; absent = all. */
  readonly only?: ReadonlyArray<string>
}

/** Tries that change nothing on a machine where they are done: without any isolation they must be. */
export const harmless: ReadonlyArray<string> = [
  "read a file of the host",
  "list root's home",
  "find the host's environment in /proc",
  "find another instance's environment in /proc",
  "signal a process of the host",
  "reach a port of the host's loopback",
  "reach an abstract socket of the host"
]

/** Runs in CommonJS with nothing but Node. */
export const script = (host: HostFacts, inside: Inside): string => `
const fs = require("node:fs"), net = require("node:net"), os = require("node:os"), child = require("node:child_process");
const host = ${JSON.stringify({ ...host, ...inside })};
const connect = (to) => new Promise((resolve, reject) => {
  const socket = net.connect(to).on("connect", resolve).on("error", reject);
  socket.setTimeout(3000, () => reject(new Error("no answer")));
  socket.on("close", () => reject(new Error("closed")));
});
const tries = { ${Object.entries(scripts)
  .map(([name, body]) => `${JSON.stringify(name)}: async () => { ${body} }`)
  .join(",\n")} };
const names = ${JSON.stringify(Object.keys(calls(1)))};
(async () => {
  const results = {};
  for (const [name, body] of Object.entries(tries)) {
    if (host.only !== undefined && !host.only.includes(name)) continue;
    try { await body(); results[name] = "done" } catch (error) { results[name] = error.code ?? error.message }
  }
  if (host.programs !== undefined) for (const [index, name] of names.entries()) {
    const { status, signal, error } = child.spawnSync(host.programs + "/try-" + index);
    const code = signal ?? error?.code ?? status;
    const reason = Object.entries(os.constants.errno).find(([, number]) => number === code)?.[0];
    results[name] = code === 0 ? "done" : String(reason ?? code);
  }
  console.log("tries " + JSON.stringify(results));
  process.exit(0);
})();
`

/** What a refusal is; a call with arguments that make no sense would be refused by everybody. */
const refusals =
  /^(?:EPERM|EACCES|ENOENT|EROFS|ESRCH|ENOSYS|ECONNREFUSED|ENETUNREACH|ENOSPC|EADDRNOTAVAIL|EDQUOT|ERR_[A-Z_]+|SIGSYS|none|empty|masked|loopback alone|no answer)$/

/** Where ids are a namespace's own, those of root mean nobody. */
const ofIds: ReadonlyArray<string> = ["become root", "join root's group", "give a file to root"]

/** Tries that were done, or that failed for a reason that refuses nothing. */
export const notRefused = (results: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  Object.entries(results).flatMap(([name, result]) =>
    refusals.test(result) || (result === "EINVAL" && ofIds.includes(name)) ? [] : [`${name}: ${result}`]
  )
