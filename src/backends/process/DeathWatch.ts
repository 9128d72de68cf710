/**
 * Ends process groups when this process dies, however it dies. `kill -9` leaves no time for a handler, and most commands
 * do not notice that their parent is gone, so one small `sh` reads the live groups from a pipe; when the pipe closes,
 * because we closed it or because we are no more, it kills what is left.
 *
 * Costs one write on an open pipe per launch and nothing else: no wrapper around the command, no second `exec`.
 *
 * Laws: D1 after the death of this process no announced group lives on. D2 a group that was withdrawn is not touched.
 * D3 on Linux, processes that left their group (`setsid`), or were started in the instant before their announcement, are
 * found by the mark in their environment. D4 after the death of this process the directory of secrets is gone, and so are
 * its control groups with all that is in them.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"

/** The mark that all processes of one backend carry in their environment. */
export const markVariable = "MILLRACE_BACKEND_ID"

/**
 * `$1` is the mark, `$2` the directory of secrets, `$3` the directories of control groups, one a line, the others are the
 * groups that live already. The signals are ignored
 * because Ctrl-C in a terminal and a service manager's stop reach the watcher too, and it must be the last to go. The
 * second look at /proc catches what was forked during the first.
 */
const script = `
trap '' HUP INT TERM
mark=$1
secrets=$2
places=$3
shift 3
live="$*"
while read -r sign group; do
  case $sign in
    +) live="$live $group" ;;
    -) rest=
       for each in $live; do [ "$each" = "$group" ] || rest="$rest $each"; done
       live=$rest ;;
  esac
done
for each in $live; do kill -s KILL -- "-$each" 2>/dev/null; done
rm -rf -- "$secrets"
IFS='
'
for place in $places; do
  tries=0
  while [ -d "$place" ] && [ $tries -lt 40 ]; do
    for file in "$place"/*/cgroup.procs; do
      while read -r each; do [ "$each" -gt 1 ] && kill -s KILL "$each"; done <"$file"
    done 2>/dev/null
    rmdir "$place"/*/ "$place" 2>/dev/null || sleep 0.05
    tries=$((tries + 1))
  done
done
IFS=' '
[ -d /proc/self ] || exit 0
for round in 1 2; do
  for file in $(grep -lasF "${markVariable}=$mark" /proc/[0-9]*/environ 2>/dev/null); do
    each=\${file#/proc/}
    kill -s KILL "\${each%/environ}" 2>/dev/null
  done
done
exit 0
`

export interface DeathWatch {
  /** `group`: id of the process group, that is the pid of its leader. */
  readonly announce: (group: number) => void
  readonly withdraw: (group: number) => void
  /** Kills what is announced, and what carries the mark; resolves when the watcher is gone, at the latest after `waitMs`. */
  readonly close: (waitMs: number) => Promise<void>
  /** Whether there is a watcher; none without `/bin/sh`. */
  readonly isWatching: () => boolean
}

export interface Options {
  readonly mark: string
  /** A directory that goes with this process. */
  readonly secrets: string
  /** Of control groups, which go with it too. */
  readonly places: ReadonlyArray<string>
}

export const make = ({ mark, secrets, places }: Options): DeathWatch => {
  const live = new Set<number>()
  let closed = false
  let restarts = 0
  let watcher = start()

  function start(): ChildProcess {
    const words = [mark, secrets, places.join("\n"), ...[...live].map(String)]
    const child = spawn("/bin/sh", ["-c", script, "millrace-death-watch", ...words], {
      cwd: "/",
      detached: true,
      env: { PATH: "/usr/bin:/bin" },
      stdio: ["pipe", "ignore", "ignore"]
    })
    child.on("error", () => undefined)
    child.stdin?.on("error", () => undefined)
    child.once("exit", () => {
      // Somebody killed the watcher: another takes over, a few times. With none left, instances still die with their
      // worker's connection, which is all that is promised without a shell.
      if (closed || ++restarts > 20) return
      watcher = start()
    })
    child.unref()
    // A child's stdin is a socket, though its type does not say so.
    if (child.stdin !== null && "unref" in child.stdin && typeof child.stdin.unref === "function") child.stdin.unref()
    return child
  }

  return {
    announce: (group) => {
      live.add(group)
      watcher.stdin?.write(`+ ${group}\n`)
    },
    withdraw: (group) => {
      if (live.delete(group)) watcher.stdin?.write(`- ${group}\n`)
    },
    close: (waitMs) => {
      closed = true
      if (watcher.exitCode !== null || watcher.signalCode !== null || watcher.pid === undefined)
        return Promise.resolve()
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, waitMs)
        watcher.ref()
        watcher.once("exit", () => {
          clearTimeout(timer)
          resolve()
        })
        watcher.stdin?.end()
      })
    },
    isWatching: () => watcher.pid !== undefined
  }
}
