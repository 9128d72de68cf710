/**
 * Names of subjects and queues are tokens with dots between; a pattern stands for many of them.
 *
 * @module
 */

/** `*` stands for one token, a last `>` for one or more. */
export const matches = (pattern: ReadonlyArray<string>, subject: ReadonlyArray<string>): boolean => {
  for (const [index, token] of pattern.entries()) {
    if (token === ">") return index === pattern.length - 1 && subject.length > index
    if (index >= subject.length || (token !== "*" && token !== subject[index])) return false
  }
  return pattern.length === subject.length
}

export const isPattern = (tokens: ReadonlyArray<string>): boolean => tokens.includes("*") || tokens.includes(">")
