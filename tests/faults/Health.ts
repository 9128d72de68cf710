/**
 * What a platform in another process says about itself.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"

const controlUrlOf = (stateDirectory: string): string => {
  // Written by the platform for other commands.
  const { control } = JSON.parse(readFileSync(join(stateDirectory, "endpoints.json"), "utf8")) as { control: string }
  return control
}

/** Messages of workers that were refused because their lease was over, as `GET /healthz` counts them. */
export const staleMessagesRefused = async (stateDirectory: string): Promise<number> => {
  const answer = await fetch(`${controlUrlOf(stateDirectory)}/healthz`)
  const said = (await answer.json()) as { readonly staleMessagesRefused: number }
  return said.staleMessagesRefused
}

/** A page of the control API. */
export const control = async (
  stateDirectory: string,
  path: string,
  method = "GET"
): Promise<Record<string, unknown>> => {
  const token = readFileSync(join(stateDirectory, "admin-token"), "utf8").trim()
  const answer = await fetch(`${controlUrlOf(stateDirectory)}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` }
  })
  // Looked at by the test that asked for it.
  return (await answer.json()) as Record<string, unknown>
}
