/**
 * `PubSub` over core NATS. Laws: see `PubSub`.
 *
 * While there is no connection nothing is published: what waited for one would be worth nothing when it comes.
 *
 * @module
 */
import type { Subscription } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import type { ReportFault } from "../embedded/ReportFault.ts"
import { bytesOf } from "../Message.ts"
import type { PubSub } from "../PubSub.ts"
import type { Link, Supervisor } from "./Supervisor.ts"

export const make = (supervisor: Supervisor, report: ReportFault): PubSub["Service"] => {
  const root = `${supervisor.options.prefix}.pubsub.`

  const publish: PubSub["Service"]["publish"] = (subject, payload) => {
    if (!supervisor.isConnected) return
    try {
      supervisor.link.connection.publish(root + subject, bytesOf(payload))
    } catch (error) {
      report(`a message to ${subject} was not published`, error)
    }
  }

  const subscribe: PubSub["Service"]["subscribe"] = (subject, onMessage) => {
    const start = async () => {
      let subscription: Subscription
      let isLive = true
      const listen = ({ connection }: Link) => {
        subscription = connection.subscribe(root + subject, {
          callback: (error, message) => {
            if (!isLive) return
            if (error !== null) return report(`the subscription of ${subject} failed`, error)
            try {
              // A copy: the client's buffer holds the messages beside it.
              onMessage(new Uint8Array(message.data), message.subject.slice(root.length))
            } catch (fault) {
              report(`a subscriber of ${subject} threw`, fault)
            }
          }
        })
      }
      listen(supervisor.link)
      const stopListening = supervisor.onReplaced(listen)
      // S1: when this resolves the server knows of it. Without a connection it will know with the next one.
      if (supervisor.isConnected) await supervisor.link.connection.flush().catch(() => undefined)
      return () => {
        isLive = false
        stopListening()
        subscription.unsubscribe()
      }
    }
    return Effect.asVoid(Effect.acquireRelease(Effect.promise(start), (stop) => Effect.sync(stop)))
  }

  // What comes from a server is bytes.
  return { publish, subscribe, hear: subscribe }
}
