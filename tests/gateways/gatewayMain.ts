/**
 * One gateway on NATS in a process of its own, to be killed: `node gatewayMain.ts OPTIONS`. Prints one line of JSON with
 * its addresses, and hands over and ends when it is told to (SIGTERM).
 */
import * as NatsFabric from "../../src/planes/fabric/NatsFabric.ts"
import { type GatewayOptions, openFabric, startGateway } from "./GatewayLife.ts"

export interface MainOptions extends GatewayOptions {
  readonly fabric: NatsFabric.NatsFabricOptions
}

// Written by `GatewayProcess.ts`.
const options = JSON.parse(process.argv[2] ?? "{}") as MainOptions
const fabric = await openFabric(NatsFabric.layer(options.fabric))
const gateway = await startGateway(fabric.context, {
  ...options,
  onMoved: (shard, what) => console.error(`${new Date().toISOString()} ${shard} ${what}`)
})
process.on(
  "SIGTERM",
  () =>
    void gateway
      .close()
      .then(fabric.close)
      .then(() => process.exit(0))
)
console.log(JSON.stringify({ url: gateway.url, workerUrl: gateway.workerUrl, pid: process.pid }))
