/**
 * Zygotes that wait (`worker-sdk/zygote-main.ts`), in the spawner: a few, made when it is calm, each given away once.
 *
 * - The first one is made after the first start that could have used one; the last ones end when there was no such start
 *   for `idleMs`. So a platform that starts nothing pays nothing.
 * - A place is filled again `calmMs` after the last start of any instance: a refill takes one core for about as long as a
 *   plain start, and must not take it from the start that made it necessary.
 *
 * Laws: P1 a zygote is given away at most once. P2 a hand-over is told exactly once, as taken or as failed, and after
 * `failed` nothing of that zygote runs. P3 zygotes that die before they are given away stop being made after
 * `failuresMax` in a row.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { Duplex } from "node:stream"
import type { ControlGroup } from "./ControlGroup.ts"
import type { ZygoteCommand } from "./HandOver.ts"

/** The same shape as in `worker-sdk/zygote-main.ts`, which reads it: both are of one build. */
export interface HandOver {
  /** The entry as it stands in the command, then the arguments. */
  readonly words: ReadonlyArray<string>
  readonly workingDirectory: string
  /** Whole. */
  readonly environment: Readonly<Record<string, string>>
}

export interface Options extends ZygoteCommand {
  /** Zygotes that wait at a time. */
  readonly count: number
  /** Path of `zygote-main.js`. */
  readonly main: string
  /** A zygote is in the control group of the instance that it will be; undefined = there are none. */
  readonly openGroup: (name: string) => ControlGroup | undefined
  readonly calmMs: number
  readonly idleMs: number
}

export interface Output {
  readonly stream: "stdout" | "stderr"
  readonly bytes: Buffer
}

export interface Listener {
  /** It runs the function from here on. `early`: what it printed meanwhile. */
  readonly onTaken: (early: ReadonlyArray<Output>) => void
  readonly onFailed: (detail: string) => void
}

export interface Zygote {
  readonly child: ChildProcess
  readonly pid: number
  /** Whoever gives it something to do removes it at its end. */
  readonly group: ControlGroup | undefined
  /** Once. */
  readonly give: (handOver: HandOver, listener: Listener) => void
  /** Takes it as taken, whatever becomes of it: for one that is told to end before it is known. */
  readonly claim: () => void
}

export interface ZygotePool {
  /** One that is ready, if there is one. */
  readonly take: () => Zygote | undefined
  /** An instance was started; `couldUse`: a zygote could have become, or became, this one. */
  readonly started: (couldUse: boolean) => void
  readonly close: () => void
}

const failuresMax = 3
/** From the hand-over to `t`; it takes a millisecond or two. */
const takeMs = 2_000
/** Of what a zygote prints before it is given away: enough for the text of an error. */
const earlyBytesMax = 8 * 1024

export const make = (options: Options, onTrouble: (detail: string) => void): ZygotePool => {
  const booting = new Set<Process>()
  const ready: Array<Process> = []
  let calm: NodeJS.Timeout | undefined
  let idle: NodeJS.Timeout | undefined
  let failures = 0
  let lastName = 0

  const fill = () => {
    if (idle === undefined || failures >= failuresMax) return
    try {
      while (booting.size + ready.length < options.count) boot()
    } catch (cause) {
      failed(cause instanceof Error ? cause.message : String(cause))
    }
  }

  const failed = (detail: string) => {
    failures++
    onTrouble(`${detail}${failures < failuresMax ? "" : "; no more are made"}`)
    calm ??= setTimeout(calmed, options.calmMs)
  }

  const boot = () => {
    const one = start(options, `z${++lastName}`, {
      onReady: () => {
        failures = 0
        booting.delete(one)
        ready.push(one)
      },
      onGone: (detail) => {
        const at = ready.indexOf(one)
        if (at < 0 && !booting.has(one)) return
        if (at >= 0) ready.splice(at, 1)
        booting.delete(one)
        failed(detail)
      }
    })
    booting.add(one)
  }

  const calmed = () => {
    calm = undefined
    fill()
  }

  const drain = () => {
    idle = undefined
    clearTimeout(calm)
    calm = undefined
    for (const one of [...booting, ...ready.splice(0)]) one.end()
    booting.clear()
  }

  return {
    take: () => ready.shift(),
    started: (couldUse) => {
      if (options.count === 0) return
      clearTimeout(calm)
      calm = setTimeout(calmed, options.calmMs)
      if (!couldUse) return
      clearTimeout(idle)
      idle = setTimeout(drain, options.idleMs)
    },
    close: () => {
      clearTimeout(idle)
      drain()
    }
  }
}

interface Process extends Zygote {
  readonly end: () => void
}

interface BootListener {
  readonly onReady: () => void
  /** Before it was given away. */
  readonly onGone: (detail: string) => void
}

const start = (options: Options, name: string, { onReady, onGone }: BootListener): Process => {
  const group = options.openGroup(name)
  const fork = () =>
    spawn(options.program, [...options.flags, options.main], {
      env: options.environment,
      detached: true,
      stdio: ["ignore", "pipe", "pipe", "pipe"]
    })
  const child = group === undefined ? fork() : group.enter(fork)
  const channel = child.stdio[3]
  if (!(channel instanceof Duplex)) throw new Error("a pipe at descriptor 3 goes both ways")
  let given: Listener | undefined
  let isTaken = false
  let isReady = false
  const early: Array<Output> = []
  let earlyBytes = 0

  const listen = (stream: Output["stream"]) => {
    const source = child.stdio[stream === "stdout" ? 1 : 2]
    const keep = (bytes: Buffer) => {
      earlyBytes += bytes.length
      // What comes after the hand-over is the function's and is kept whole; it waits only until `t` is read.
      if (given !== undefined || earlyBytes <= earlyBytesMax) early.push({ stream, bytes })
    }
    source?.on("data", keep)
    return () => source?.off("data", keep)
  }
  const unlisten = [listen("stdout"), listen("stderr")]

  const kill = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL")
    } catch {
      // ESRCH: it is gone, which is what was wanted.
    }
  }

  /** Told when there is no process any more, so that what comes instead of it is never beside it. */
  const fail = (detail: string) => {
    const tell = () => {
      const said = Buffer.concat(early.map(({ bytes }) => bytes))
        .toString()
        .trim()
      const text = `${detail}${said === "" ? "" : `: ${said}`}`
      if (!isTaken) group?.remove()
      if (given === undefined) onGone(text)
      else if (!isTaken) given.onFailed(text)
    }
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return tell()
    child.once("exit", tell)
    kill()
  }

  const claim = () => {
    if (given === undefined || isTaken) return
    isTaken = true
    for (const stop of unlisten) stop()
    given.onTaken(early)
  }

  child.on("error", () => undefined)
  channel.on("error", () => undefined)
  channel.on("data", () => {
    if (!isReady) {
      isReady = true
      return onReady()
    }
    channel.destroy()
    claim()
  })
  channel.once("close", () => {
    if (!isTaken) fail(isReady ? "a zygote ended before it had a function" : "a zygote did not start")
  })

  return {
    child,
    pid: child.pid ?? 0,
    group,
    give: (handOver, listener) => {
      given = listener
      early.length = 0
      const text = Buffer.from(JSON.stringify(handOver))
      const length = Buffer.alloc(4)
      length.writeUInt32LE(text.length)
      channel.write(Buffer.concat([length, text]))
      setTimeout(() => {
        if (!isTaken) kill()
      }, takeMs).unref()
    },
    claim,
    end: kill
  }
}
