/**
 * All commands, in the order in which help shows them.
 *
 * @module
 */
import { type Command, type Flag, platformFlags } from "./Command.ts"
import { devCommand, upCommand } from "./dev/commands.ts"

const init: Command = {
  name: "init",
  usage: "<dir>",
  about: "make a new function: millrace.json, a handler, a server and a test",
  flags: [{ name: "name", value: "NAME", about: "name of the function (default: that of the directory)" }],
  example: "millrace init hello",
  positionalsMax: 1,
  load: () => import("./commands/init.ts")
}

const deploy: Command = {
  name: "deploy",
  usage: "[dir]",
  about: "bring a function into the running platform, or its new version",
  details: [
    "Reads millrace.json of the directory (default: this one). What has not changed is left alone; a new version",
    "takes the calls once it is deployed, and the one before it finishes what it has and goes to zero."
  ],
  flags: platformFlags,
  example: "millrace deploy ./hello",
  positionalsMax: 1,
  load: () => import("./commands/deploy.ts")
}

const functions: Command = {
  name: "functions",
  usage: "[show <name>]",
  about: "list functions, or show one",
  flags: [{ name: "prefix", value: "TEXT", about: "only names that start so" }, ...platformFlags],
  example: "millrace functions show hello",
  positionalsMax: 2,
  load: () => import("./commands/functions.ts")
}

const instances: Command = {
  name: "instances",
  usage: "[<function>]",
  about: "list instances and what they are doing",
  flags: [{ name: "all", short: "a", about: "also those that ended lately" }, ...platformFlags],
  example: "millrace instances hello --all",
  positionalsMax: 1,
  load: () => import("./commands/instances.ts")
}

const clusters: Command = {
  name: "clusters",
  usage: "[list | cordon <name> | drain <name> | uncordon <name>]",
  about: "list clusters; take one out of use for new instances, or empty it",
  details: [
    "A cordoned cluster takes no new instances and keeps those it has. A drained one is emptied: instances are replaced in",
    "other clusters and leave when they have finished what they hold. Uncordon ends both."
  ],
  flags: platformFlags,
  example: "millrace clusters drain east-1",
  positionalsMax: 2,
  load: () => import("./commands/clusters.ts")
}

const invoke: Command = {
  name: "invoke",
  usage: "<function> [-]",
  about: "call a function and print its answer",
  details: ["A lone - sends what comes from standard input. Exits with 1 when the answer is an error (400 and above)."],
  flags: [
    { name: "path", value: "PATH", about: "path and query that the function sees (default: /)" },
    { name: "method", short: "X", value: "METHOD", about: "default: POST with data, else GET" },
    { name: "data", short: "d", value: "TEXT", about: "body to send" },
    { name: "data-file", value: "FILE", about: "file to send as body" },
    { name: "header", short: "H", value: "'NAME: VALUE'", multiple: true, about: "header to send; can be repeated" },
    { name: "async", about: "do not wait: print the request id, and claim the result later" },
    { name: "include", short: "i", about: "print status and headers too" },
    ...platformFlags
  ],
  example: "millrace invoke hello --path '/?name=Ada'",
  positionalsMax: 2,
  load: () => import("./commands/invoke.ts")
}

const requests: Command = {
  name: "requests",
  usage: "[list | show <id> | result <id> | cancel <id>]",
  about: "list requests, show or cancel one, or claim its result",
  flags: [
    { name: "function", value: "NAME", about: "only requests of this function" },
    {
      name: "state",
      value: "STATE",
      about: "pending, leased, responding, responded, failed, expired, cancelled, dead-lettered"
    },
    { name: "limit", value: "COUNT", about: "at most so many (default: 20)" },
    ...platformFlags
  ],
  example: "millrace requests list --state pending",
  positionalsMax: 2,
  load: () => import("./commands/requests.ts")
}

const deadLetters: Command = {
  name: "dead-letters",
  usage: "[list | show <id> | replay <id> | drop <id>]",
  about: "list requests whose every attempt was lost, show, replay or drop one",
  details: [
    "A replay makes a new request of it, for the active version of the function or the one that --version names, and",
    "prints its id. Replaying again prints the same id and runs nothing."
  ],
  flags: [
    { name: "function", value: "NAME", about: "only of this function" },
    { name: "open", about: "only those that were not replayed" },
    { name: "limit", value: "COUNT", about: "at most so many (default: 20)" },
    { name: "after", value: "NEXT", about: "go on after this page" },
    { name: "version", value: "ID", about: "the version that is to run a replay" },
    ...platformFlags
  ],
  example: "millrace dead-letters replay 01938f5e-7c1a-7d3e-9a40-2f6b1c8d0e11",
  positionalsMax: 2,
  load: () => import("./commands/dead-letters.ts")
}

const explain: Command = {
  name: "explain",
  usage: "<request>",
  about: "say where the time of a request went, or what it waits for",
  flags: platformFlags,
  example: "millrace explain 01938f5e-7c1a-7d3e-9a40-2f6b1c8d0e11",
  positionalsMax: 1,
  load: () => import("./commands/explain.ts")
}

const logs: Command = {
  name: "logs",
  usage: "<function | instance>",
  about: "print the output of a function's instances, or of one instance",
  flags: [{ name: "follow", short: "f", about: "go on with new lines as they come" }, ...platformFlags],
  example: "millrace logs -f hello",
  positionalsMax: 1,
  load: () => import("./commands/logs.ts")
}

const remove: Command = {
  name: "delete",
  usage: "<function>",
  about: "delete a function with all its versions",
  flags: [{ name: "force", about: "also when it is deployed: its waiting requests end" }, ...platformFlags],
  example: "millrace delete hello --force",
  positionalsMax: 1,
  load: () => import("./commands/delete.ts")
}

const worker: Command = {
  name: "worker",
  usage: "wrap --forward URL --health PATH [-- command]",
  about: "make any HTTP server a worker",
  details: [
    "Started by Millrace as the command of a function. Starts the command after --, waits until the health path answers",
    "200, and then forwards each call to the server. {port} in the URL is a free port, told to the command as PORT."
  ],
  flags: [
    { name: "forward", value: "URL", about: "where the server listens" },
    { name: "health", value: "PATH", about: "answers 200 when the server is ready" }
  ],
  example: "millrace worker wrap --forward 'http://127.0.0.1:{port}' --health /health -- python3 server.py",
  positionalsMax: 1,
  takesRest: true,
  load: () => import("./commands/worker.ts")
}

const simulate: Command = {
  name: "simulate",
  usage: "--trace FILE [--policy LIST]",
  about: "replay a trace of requests in virtual time under scaling policies, and compare them",
  details: [
    "Runs the machines that decide in production over a simulated world: same seed, same answer. Reads recordings of",
    "Azure, Mooncake, ServeGen and CloudWatch, and any CSV with the head arrival_ms,function,duration_ms. Beside each",
    "policy stands the offline optimum, which knows every request in advance. Times are like 250ms, 90s, 10m, 6h, 14d."
  ],
  flags: [
    { name: "trace", value: "FILE", about: "recording to replay; .gz is unpacked" },
    {
      name: "policy",
      value: "LIST",
      about: "names, fixed:8, shadow(one,other), JSON with options, ./my-policy.ts (default: demand,fixed)"
    },
    { name: "start-model", value: "NAME", about: "process, lora, base-model, container, or a time (default: lora)" },
    { name: "seed", value: "N", about: "of everything that is drawn by lot (default: 1)" },
    { name: "html", value: "OUT", about: "write a page with pictures" },
    { name: "table", about: "all policies on the sample traces, in Markdown" },
    { name: "from", value: "TIME", about: "leave out what came before" },
    { name: "to", value: "TIME", about: "leave out what came later" },
    { name: "slots", value: "N", about: "requests that one instance takes at a time (default: 4)" },
    { name: "idle-window", value: "TIME", about: "before an instance that is not needed goes (default: 60s)" },
    { name: "min-instances", value: "N", about: "of each function (default: 0)" },
    { name: "max-instances", value: "N", about: "of each function (default: what the clusters hold)" },
    { name: "slo", value: "TIME", about: "wait that is within the objective (default: 1s)" },
    { name: "service-time", value: "TIME", about: "mean time in a worker where the recording has none (default: 1s)" },
    { name: "service-model", value: "FILE:GPU/MODEL/TP", about: "time in a worker from tokens, by measured operators" },
    { name: "clusters", value: "N", about: "clusters (default: 2)" },
    { name: "nodes", value: "N", about: "nodes of each cluster (default: 16)" },
    { name: "gpus", value: "N", about: "GPUs of each node (default: 8)" },
    { name: "gpus-per-instance", value: "N", about: "GPUs that an instance takes, on one node (default: 1)" },
    { name: "price", value: "AMOUNT", about: "of a GPU for an hour (default: 2)" },
    {
      name: "fault",
      value: "WORDS",
      multiple: true,
      about: "instance-dies@60s, cluster-lost@5m-7m, partition, slow-start, telemetry-lost, agent-restart"
    }
  ],
  example: "millrace simulate --trace traces/azure-llm-2023/conv.csv.gz --policy demand,knative --html report.html",
  positionalsMax: 0,
  load: () => import("./commands/simulate.ts")
}

const configFlags: ReadonlyArray<Flag> = [
  { name: "config", value: "FILE", about: "JSON, with comments (MILLRACE_CONFIG)" },
  { name: "set", value: "PATH=VALUE", multiple: true, about: "one setting, before the file and the environment" }
]

const serve: Command = {
  name: "serve",
  usage: "invocation | control | agent",
  about: "run one plane as a service of its own, on NATS",
  details: [
    "The three together are a platform; each can be restarted alone. The configuration is one file for all of them:",
    "docs/operating.md lists the settings, `millrace config check FILE` tells what is wrong. GET /healthz and /readyz",
    "answer at health.port. SIGTERM drains. Without a terminal it prints one JSON line an event."
  ],
  flags: configFlags,
  example: "millrace serve invocation --config millrace.config.json",
  positionalsMax: 1,
  load: () => import("./serve/ServeCommand.ts")
}

const config: Command = {
  name: "config",
  usage: "check FILE | show",
  about: "check a configuration of `millrace serve`, or show what holds and where it comes from",
  flags: configFlags,
  example: "millrace config check millrace.config.json",
  positionalsMax: 2,
  load: () => import("./commands/config.ts")
}

const backup: Command = {
  name: "backup",
  usage: "<folder>",
  about: "save all that an installation on NATS keeps into a folder",
  details: [
    "Logs of shards and their snapshots, specs and ownership, and the large bodies in `state`: run it where the gateways'",
    "`state` is. Everything may go on working meanwhile."
  ],
  flags: configFlags,
  example: "millrace backup /backups/monday --config millrace.config.json",
  positionalsMax: 1,
  load: () => import("./commands/backup.ts").then(({ save }) => save)
}

const restore: Command = {
  name: "restore",
  usage: "<folder>",
  about: "bring a backup back, to servers that hold nothing of the installation",
  details: [
    "While no plane runs, and no instance of it. What was accepted after the backup is not there; what ended after it",
    "runs again."
  ],
  flags: configFlags,
  example: "millrace restore /backups/monday --config millrace.config.json",
  positionalsMax: 1,
  load: () => import("./commands/backup.ts").then(({ restore }) => restore)
}

export const commands: ReadonlyArray<Command> = [
  devCommand,
  upCommand,
  serve,
  config,
  backup,
  restore,
  init,
  deploy,
  functions,
  instances,
  clusters,
  invoke,
  requests,
  deadLetters,
  explain,
  logs,
  remove,
  simulate,
  worker
]
