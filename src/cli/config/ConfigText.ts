/**
 * The text of a configuration file: JSON with the comments of JavaScript, and with commas before a closing bracket.
 *
 * @module
 */

/** The same text with blanks in the place of comments and of such commas, so that every position stays what it was. */
const plain = (text: string): string => {
  const characters = [...text]
  const blank = (from: number, to: number) => {
    for (let at = from; at < to; at++) if (characters[at] !== "\n") characters[at] = " "
  }
  let commaAt = -1
  for (let at = 0; at < characters.length; at++) {
    const here = characters[at]
    const next = characters[at + 1]
    if (here === '"') {
      commaAt = -1
      for (at += 1; at < characters.length && characters[at] !== '"'; at++) if (characters[at] === "\\") at += 1
    } else if (here === "/" && next === "/") {
      const from = at
      while (at < characters.length && characters[at] !== "\n") at += 1
      blank(from, at)
    } else if (here === "/" && next === "*") {
      const from = at
      at += 2
      while (at < characters.length && !(characters[at] === "*" && characters[at + 1] === "/")) at += 1
      at += 1
      blank(from, at + 1)
    } else if (here === ",") commaAt = at
    else if ((here === "}" || here === "]") && commaAt >= 0) {
      blank(commaAt, commaAt + 1)
      commaAt = -1
    } else if (here !== undefined && here.trim() !== "") commaAt = -1
  }
  return characters.join("")
}

export type Parsed =
  | { readonly _tag: "Value"; readonly value: unknown }
  | { readonly _tag: "Broken"; readonly reason: string }

export const parse = (text: string): Parsed => {
  const source = plain(text.replace(/^\ufeff/, ""))
  if (source.trim() === "") return { _tag: "Value", value: {} }
  try {
    return { _tag: "Value", value: JSON.parse(source) }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const position = Number(/position (\d+)/.exec(message)?.[1] ?? Number.NaN)
    const before = Number.isNaN(position) ? undefined : source.slice(0, position).split("\n")
    const where = before === undefined ? "" : `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}: `
    return {
      _tag: "Broken",
      reason: `${where}${message.replace(/ \(line .*\)$/, "").replace(/ in JSON at position.*$/, "")}`
    }
  }
}
