/**
 * The laws of every backend, of this one.
 *
 * @module
 */
import { afterAll, afterEach, describe, inject, it } from "vitest"
import { casesOf } from "../../src/backends/laws/index.ts"
import * as Admin from "./Admin.ts"
import * as FaultProxy from "./FaultProxy.ts"
import { harnessOf, opened, removeAll } from "./harness.ts"
import { serverOf } from "./serverOf.ts"

const kubeconfig = inject("kubeconfig")
const admin = await Admin.open(kubeconfig)
const proxy = await FaultProxy.start(serverOf(kubeconfig))
const harness = harnessOf(admin, await admin.agentKubeconfig(inject("directory"), proxy.url), proxy)

describe(`backend laws: ${harness.name}`, () => {
  for (const { name, skip, run } of casesOf(harness)) it.skipIf(skip !== undefined)(name, run)
  afterEach(async () => {
    for (const cluster of opened) await removeAll(admin, cluster, 1)
    opened.clear()
  })
  afterAll(() => proxy.stop())
})
