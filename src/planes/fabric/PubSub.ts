/**
 * At most once and fast: hints that are worth nothing a second later (demand, heartbeats, instance reports).
 *
 * Laws (`tests/fabric/pubSubLaws.ts`): S1 a subscriber sees what was published to its subject after it subscribed, in
 * order per publisher, at most once. S2 `a.*` matches one token, `a.>` one or more. S3 a subscriber that throws harms
 * neither the publisher nor the others. S4 after the scope closes nothing more is delivered. S5 a message is heard as its
 * bytes, or as the value that its reader reads from them.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Payload } from "./Message.ts"

export class PubSub extends Context.Service<
  PubSub,
  {
    /** Never fails and never waits. The embedded maker calls subscribers before it returns. */
    readonly publish: (subject: string, payload: Payload) => void
    readonly subscribe: (
      subject: string,
      onMessage: (payload: Uint8Array, subject: string) => void
    ) => Effect.Effect<void, never, Scope.Scope>
    /** The same without the bytes of what comes from this process: for readers of messages. */
    readonly hear: (
      subject: string,
      onPayload: (payload: Payload, subject: string) => void
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("millrace/planes/fabric/PubSub") {}
