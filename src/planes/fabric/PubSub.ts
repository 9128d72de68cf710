/**
 * At most once and fast: hints that are worth nothing a second later (demand, heartbeats, instance reports).
 *
 * Laws (`tests/fabric/pubSubLaws.ts`): S1 a subscriber sees what was published to its subject after it subscribed, in
 * order per publisher, at most once. S2 `a.*` matches one token, `a.>` one or more. S3 a subscriber that throws harms
 * neither the publisher nor the others. S4 after the scope closes nothing more is delivered.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export class PubSub extends Context.Service<
  PubSub,
  {
    /** Never fails and never waits. The embedded maker calls subscribers before it returns. */
    readonly publish: (subject: string, payload: Uint8Array) => void
    readonly subscribe: (
      subject: string,
      onMessage: (payload: Uint8Array, subject: string) => void
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("millrace/planes/fabric/PubSub") {}
