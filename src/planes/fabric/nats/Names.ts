/**
 * From names of Millrace, which are any text, to names of NATS, which are not.
 *
 * Laws: N1 different names stay different. N2 a key comes back from its subject. N3 the subjects of the keys with a prefix
 * are among those that `keyFilter` matches.
 *
 * @module
 */
import { createHash } from "node:crypto"

/** A stream's name has at most 255 characters. */
const encodedMax = 120

const escape = (text: string, isPlain: RegExp, mark: string): string => {
  let result = ""
  for (const byte of Buffer.from(text, "utf8")) {
    const character = String.fromCharCode(byte)
    result += byte < 0x80 && isPlain.test(character) ? character : `${mark}${byte.toString(16).padStart(2, "0")}`
  }
  return result
}

/** `[a-z0-9-]` stay; case is written out, since a stream's name becomes a folder and some disks do not tell cases apart. */
export const token = (name: string): string => {
  const encoded = escape(name, /[a-z0-9-]/, "_")
  if (encoded.length <= encodedMax) return encoded
  // No escape ends in an underscore, so that a shortened name cannot be that of another.
  return `${encoded.slice(0, encodedMax - 34)}__${createHash("sha256").update(name).digest("hex").slice(0, 32)}`
}

/** Slashes part the tokens; each begins with `k`, so that none is empty. */
export const keySubject = (key: string): string =>
  key
    .split("/")
    .map((part) => `k${escape(part, /[a-zA-Z0-9_-]/, "=")}`)
    .join(".")

export const keyOf = (subject: string): string => {
  // Most keys are plain, and a start reads hundreds of thousands.
  if (!subject.includes("=")) return subject.slice(1).replaceAll(".k", "/")
  const plain = (part: string) =>
    part.slice(1).replace(/=([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return subject
    .split(".")
    .map((part) => Buffer.from(plain(part), "latin1").toString("utf8"))
    .join("/")
}

/** As narrow as whole tokens allow. */
export const keyFilter = (prefix: string): string => {
  const whole = prefix.split("/").slice(0, -1)
  return whole.length === 0 ? ">" : `${keySubject(whole.join("/"))}.>`
}

/** Text that is a subject without wildcards. */
export const isSubject = (text: string): boolean =>
  text.length > 0 &&
  text.length <= 400 &&
  text.isWellFormed() &&
  !/\p{Cc}|\s/u.test(text) &&
  text.split(".").every((part) => part !== "" && part !== "*" && part !== ">")

/** As `isSubject`, with `*` for a token and `>` for the rest. */
export const isFilter = (text: string): boolean => {
  const parts = text.split(".")
  const plain = parts.map((part, index) => (part === "*" || (part === ">" && index === parts.length - 1) ? "x" : part))
  return isSubject(plain.join("."))
}
