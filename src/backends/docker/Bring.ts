/**
 * Brings one container into being: image, container, secrets, start. Each step can be asked for again, so a second agent
 * of the cluster, or an agent that starts anew in the middle, ends with the same one container.
 *
 * @module
 */
import type { ContainerInspectInfo } from "dockerode"
import * as Effect from "effect/Effect"
import type { InstanceSpec } from "../ComputeBackend.ts"
import type { LaunchError } from "../LaunchError.ts"
import * as ContainerOptions from "./ContainerOptions.ts"
import type { Asked, DockerClient } from "./DockerClient.ts"
import { launchFailure, nameTaken, unavailable, withoutNvidia } from "./LaunchRefusal.ts"
import * as Tar from "./Tar.ts"

/**
 * Makes an image that holds a command of this machine; answers the spec as it is inside, with that image. Told when it
 * has to be made first.
 */
export type Pack = (
  spec: InstanceSpec,
  client: DockerClient
) => Effect.Effect<InstanceSpec & { readonly image: string }, LaunchError>

export interface Surroundings {
  readonly client: DockerClient
  readonly settings: ContainerOptions.Settings
  readonly pack: Pack
  readonly onPhase: (phase: "image" | "process") => void
  /** A container was made that is nobody else's. */
  readonly onCreated: (containerId: string) => void
}

export interface Brought {
  readonly containerId: string
  readonly state: ContainerInspectInfo["State"]
}

/** A name in the way is looked at so often: whoever made it may be about to start or to remove it. */
const conflictsMax = 20
const conflictWaitMs = 100
/** Rounds after which a container that was made and never started is taken for left behind. */
const abandonedAfter = 10

export const bring = (spec: InstanceSpec, surroundings: Surroundings): Effect.Effect<Brought, LaunchError> => {
  const { client, settings, pack, onPhase, onCreated } = surroundings
  const name = ContainerOptions.nameOf(settings.cluster, spec.instanceId)
  const asked = <A>(call: Asked<A>) => Effect.mapError(call, (failure) => launchFailure(spec, failure))

  const look = (id: string): Effect.Effect<Brought, LaunchError> =>
    Effect.map(asked(client.inspect(id)), ({ Id, State }) => ({ containerId: Id, state: State }))

  const begin = (containerId: string) =>
    asked(client.start(containerId)).pipe(Effect.andThen(Effect.suspend(() => look(containerId))))

  const putSecrets = (containerId: string, secrets: Readonly<Record<string, string>>) => {
    const uid = Number(settings.user.split(":")[0])
    const { secretsFolder, secretsMount } = ContainerOptions
    const files = Object.entries(secrets).map(
      ([file, content]) => ({ kind: "text", path: `${secretsFolder}/${file}`, mode: 0o400, uid, content }) as const
    )
    const archive = Tar.pack([{ kind: "folder", path: secretsFolder, mode: 0o700, uid }, ...files])
    return asked(client.putArchive(containerId, archive, secretsMount))
  }

  /** What is under our name: ours and alive is taken over, ours and dead is cleared away. */
  const takeOver = (round: number): Effect.Effect<Brought | undefined, LaunchError> =>
    client.inspect(name).pipe(
      Effect.matchEffect({
        onFailure: (failure) =>
          failure.kind === "not-found" ? Effect.succeed(undefined) : Effect.fail(launchFailure(spec, failure)),
        onSuccess: ({ Id, State, Config }) => {
          const identity = ContainerOptions.identityOf(settings.cluster, Config.Labels)
          if (identity?.instanceId !== spec.instanceId) return Effect.fail(nameTaken(spec, name))
          if (State.Running) return Effect.succeed<Brought>({ containerId: Id, state: State })
          if (State.Status === "removing" || (State.Status === "created" && round < abandonedAfter)) {
            return Effect.as(Effect.sleep(conflictWaitMs), undefined)
          }
          return Effect.as(asked(client.remove(Id)), undefined)
        }
      })
    )

  const make = (inside: InstanceSpec & { readonly image: string }, round = 0): Effect.Effect<Brought, LaunchError> =>
    client.create(ContainerOptions.containerOptions(inside, settings)).pipe(
      Effect.matchEffect({
        onFailure: (failure): Effect.Effect<Brought, LaunchError> => {
          if (failure.kind !== "conflict") return Effect.fail(launchFailure(inside, failure))
          if (round >= conflictsMax) return Effect.fail(unavailable("launch", failure))
          return Effect.flatMap(takeOver(round), (found) =>
            found === undefined ? make(inside, round + 1) : Effect.succeed(found)
          )
        },
        onSuccess: (containerId) => {
          onCreated(containerId)
          return (
            spec.secrets === undefined || Object.keys(spec.secrets).length === 0
              ? Effect.void
              : putSecrets(containerId, spec.secrets)
          ).pipe(Effect.andThen(begin(containerId)))
        }
      })
    )

  const requireGpu = Effect.flatMap(asked(client.info), ({ Runtimes }) =>
    Runtimes !== undefined && "nvidia" in Runtimes ? Effect.void : Effect.fail(withoutNvidia(spec))
  )

  return Effect.gen(function* () {
    if (spec.gpu.count > 0) yield* requireGpu
    onPhase("image")
    const { image } = spec
    const inside = image === undefined ? yield* pack(spec, client) : { ...spec, image }
    onPhase("process")
    return yield* make(inside)
  })
}
