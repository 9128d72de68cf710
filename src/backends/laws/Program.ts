/**
 * What the laws of a backend let instances do, and each of them as a small program for Node: a maker whose instances run
 * Node takes `scriptOf`; another says the same in its own way.
 *
 * @module
 */

export type Program =
  /** Prints `up` and stays until SIGTERM, which it obeys at once. */
  | { readonly kind: "sleeps" }
  /** Prints `up` and stays; at SIGTERM it prints `no`. */
  | { readonly kind: "ignores-sigterm" }
  /** Prints `up` and stays; at SIGTERM it waits `afterMs`, prints `finished` and ends with code 0. */
  | { readonly kind: "finishes"; readonly afterMs: number }
  /** Prints `says` to stderr, then ends with `code`. */
  | { readonly kind: "exits"; readonly code: number; readonly says: string }
  /** Ends by this signal, which nobody else sent. */
  | { readonly kind: "signals-itself"; readonly signal: "SIGUSR2" }
  /** Takes memory until it has no more. */
  | { readonly kind: "eats-memory" }
  /** Writes these pieces as they are, without newlines between them, then ends with code 0. */
  | { readonly kind: "prints"; readonly pieces: ReadonlyArray<readonly ["stdout" | "stderr", string]> }
  /** 400 lines of 20,000 `x`, then `n0` to `n2999`, then ends with code 0. */
  | { readonly kind: "floods" }
  /** Prints `env ` and its environment as JSON, and stays. */
  | { readonly kind: "shows-environment" }
  /** Prints `secrets ` and, as JSON, `ShownSecrets`, and stays. */
  | { readonly kind: "shows-secrets" }
  /** Has a child of its own that ignores SIGTERM and prints `child up`; then stays, or ends with code 0. */
  | { readonly kind: "has-child"; readonly ends: boolean }
  /** Its start fails: an image or a command that is not there. */
  | { readonly kind: "cannot-start" }
  /** Its process never begins: a phase before it takes for ever. */
  | { readonly kind: "never-starts" }

export interface ShownSecrets {
  readonly directory: string
  /** Unix permission bits. */
  readonly directoryMode: number
  readonly files: Readonly<Record<string, { readonly mode: number; readonly content: string }>>
  /** All environment values and arguments, joined. */
  readonly open: string
}

const stay = "setInterval(() => {}, 1000);"

/**
 * JavaScript (CommonJS) that does it. What cannot be said in JavaScript, because it is about the start or a limit, is the
 * maker's: `cannot-start`, `never-starts`, and a limit for `eats-memory` that the maker sets in its spec.
 */
export const scriptOf = (program: Program): string => {
  switch (program.kind) {
    case "sleeps":
      return `process.on("SIGTERM", () => process.exit(0)); console.log("up"); ${stay}`
    case "ignores-sigterm":
      return `process.on("SIGTERM", () => console.log("no")); console.log("up"); ${stay}`
    case "finishes":
      return `process.on("SIGTERM", () => setTimeout(() => { console.log("finished"); process.exit(0) }, ${program.afterMs}));
        console.log("up"); ${stay}`
    case "exits":
      return `console.error(${JSON.stringify(program.says)}); process.exitCode = ${program.code}`
    case "signals-itself":
      return `process.kill(process.pid, "${program.signal}"); ${stay}`
    case "eats-memory":
      return "const all = []; for (;;) all.push(new Array(1000).fill({}))"
    case "prints":
      return program.pieces.map(([stream, text]) => `process.${stream}.write(${JSON.stringify(text)});`).join("\n")
    case "floods":
      return `const line = "x".repeat(20000); for (let i = 0; i < 400; i++) process.stdout.write(line + "\\n");
        for (let i = 0; i < 3000; i++) process.stdout.write("n" + i + "\\n")`
    case "shows-environment":
      return `console.log("env " + JSON.stringify(process.env)); ${stay}`
    case "shows-secrets":
      return `const fs = require("node:fs"); const path = require("node:path");
        const directory = process.env.MILLRACE_SECRETS_DIRECTORY;
        const modeOf = (file) => fs.statSync(file).mode & 0o777;
        const files = {};
        for (const name of fs.readdirSync(directory)) {
          const file = path.join(directory, name);
          if (fs.statSync(file).isFile()) files[name] = { mode: modeOf(file), content: fs.readFileSync(file, "utf8") };
        }
        const open = [...Object.values(process.env), ...process.argv].join("\\n");
        console.log("secrets " + JSON.stringify({ directory, directoryMode: modeOf(directory), files, open })); ${stay}`
    case "has-child": {
      const child = `process.on('SIGTERM', () => {}); console.log('child up'); setInterval(() => {}, 1000)`
      const after = program.ends ? `child.stdout.on("data", () => setTimeout(() => process.exit(0), 50));` : ""
      return `const child = require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(child)}], { stdio: ["ignore", "pipe", "inherit"] });
        child.stdout.pipe(process.stdout); ${after} ${stay}`
    }
    case "cannot-start":
    case "never-starts":
      throw new Error(`${program.kind} is about the start and not about what runs: the maker's spec says how`)
    default:
      return unreachable(program)
  }
}

const unreachable = (value: never): never => {
  throw new Error(`unreachable case ${JSON.stringify(value)}`)
}
