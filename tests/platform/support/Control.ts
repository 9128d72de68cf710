/**
 * A caller of the control API of a platform that uses this state directory, in this process or in another.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { type Answer, call } from "./Client.ts"

export const control = (stateDirectory: string, method: string, path: string): Promise<Answer> => {
  const read = (name: string) => readFileSync(join(stateDirectory, name), "utf8").trim()
  const endpoints: { readonly control: string } = JSON.parse(read("endpoints.json"))
  return call(`${endpoints.control}${path}`, { method, headers: { authorization: `Bearer ${read("admin-token")}` } })
}
