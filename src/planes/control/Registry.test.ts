import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import * as FakeKeyValue from "../../../tests/control/FakeKeyValue.ts"
import { KeyValue } from "../fabric/KeyValue.ts"
import { deploymentDefaults, type VersionSpec } from "./Domain.ts"
import * as Registry from "./Registry.ts"

const tenant = Registry.defaultTenant
const spec: VersionSpec = {
  command: ["node", "server.js"],
  environment: {},
  durability: "accepted",
  inferencePath: "/"
}

const open = (fake: FakeKeyValue.FakeKeyValue) =>
  Registry.make().pipe(Effect.provideService(KeyValue, fake.service), Effect.timeout("5 seconds"), Effect.orDie)

/** A registry over a fresh store and a function `hello` with one version. */
const withHello = Effect.gen(function* () {
  const fake = FakeKeyValue.make()
  const registry = yield* open(fake)
  const owner = yield* registry.createFunction({ tenant, name: "hello" })
  const version = yield* registry.createVersion({ tenant, functionId: owner.id, spec })
  return { fake, registry, owner, version }
})

describe("Registry", () => {
  it.effect("a second function of the same name is refused and the first one stays", () =>
    Effect.gen(function* () {
      const { registry, owner } = yield* withHello
      const error = yield* Effect.flip(registry.createFunction({ tenant, name: "hello" }))
      assert.strictEqual(error._tag, "FunctionNameTaken")
      assert.strictEqual((yield* registry.findFunction(tenant, "hello")).id, owner.id)
    })
  )

  it.effect("a chart that breaks the rules is no version, and what else stands beside a chart is refused", () =>
    Effect.gen(function* () {
      const { registry, owner } = yield* withHello
      const chart = {
        manifests: "{apiVersion: v1, kind: Node, metadata: {name: a}}",
        serviceName: "a",
        servicePort: 80
      }
      const refusal = (given: Partial<VersionSpec>) =>
        Effect.map(
          Effect.flip(registry.createVersion({ tenant, functionId: owner.id, spec: { ...spec, ...given } })),
          ({ message }) => message
        )
      assert.match(yield* refusal({ command: [], chart }), /chart\.manifests: Node a: v1 Node is not a kind/)
      assert.match(yield* refusal({ chart }), /command: a version with a chart has none of its own/)
      assert.match(yield* refusal({ health: { port: 80, path: "/" } }), /health: it belongs to an image/)
      const both = { ...chart, url: "https://a.example/b-1.tgz" }
      assert.match(yield* refusal({ command: [], chart: both }), /url or manifests, one of the two/)
      const values = { ...chart, values: { a: 1 } }
      assert.match(yield* refusal({ command: [], chart: values }), /rendered manifests take no values/)
    })
  )

  it.live("of three registries over one store only one can create the same name", () =>
    Effect.gen(function* () {
      const fake = FakeKeyValue.make({ lag: true })
      const registries = [yield* open(fake), yield* open(fake), yield* open(fake)]
      const exits = yield* Effect.all(
        registries.map((registry) => Effect.exit(registry.createFunction({ tenant, name: "only-one" }))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
      const stored = fake.entries().filter(({ key }) => key.startsWith("functions/"))
      assert.strictEqual(stored.length, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("a version number is never given twice, not even after the newest version was deleted", () =>
    Effect.gen(function* () {
      const { registry, owner, version } = yield* withHello
      assert.strictEqual(version.number, 1)
      yield* registry.deleteVersion({ tenant, versionId: version.id, force: false })
      const next = yield* registry.createVersion({ tenant, functionId: owner.id, spec })
      assert.strictEqual(next.number, 2)
    })
  )

  it.live("what was put is in the routing table before the put answers, also with a store that tells late", () =>
    Effect.gen(function* () {
      const fake = FakeKeyValue.make({ lag: true })
      const registry = yield* open(fake)
      const routing = registry.routing(tenant)
      const owner = yield* registry.createFunction({ tenant, name: "late" })
      const version = yield* registry.createVersion({ tenant, functionId: owner.id, spec })
      assert.strictEqual(routing.byVersionId(version.id)?.deployment, undefined)
      assert.strictEqual(routing.byName("late"), undefined)
      yield* registry.deploy({ tenant, versionId: version.id, spec: { ...deploymentDefaults, maxInstances: 7 } })
      assert.strictEqual(routing.byName("late")?.deployment?.spec.maxInstances, 7)
      assert.strictEqual(routing.byFunctionId(owner.id)?.versionId, version.id)
      yield* registry.restart(tenant, version.id)
      assert.strictEqual(routing.byVersionId(version.id)?.deployment?.generation, 2)
      yield* registry.undeploy(tenant, version.id)
      assert.strictEqual(routing.byName("late")?.deployment, undefined)
      assert.strictEqual(routing.byName("late")?.versionId, version.id)
    }).pipe(Effect.scoped)
  )

  it.effect("a registry opened later routes everything that was stored", () =>
    Effect.gen(function* () {
      const { fake, registry, version } = yield* withHello
      yield* registry.deploy({ tenant, versionId: version.id, spec: deploymentDefaults })
      const again = yield* open(fake)
      assert.deepStrictEqual(again.routing(tenant).byName("hello"), registry.routing(tenant).byName("hello"))
    }).pipe(Effect.scoped)
  )

  it.effect("a deployed function is deleted only by force, and then nothing of it is left in the store", () =>
    Effect.gen(function* () {
      const { fake, registry, owner, version } = yield* withHello
      yield* registry.deploy({ tenant, versionId: version.id, spec: deploymentDefaults })
      const refusal = yield* Effect.flip(registry.deleteFunction({ tenant, functionId: owner.id, force: false }))
      assert.strictEqual(refusal._tag, "StillDeployed")
      assert.include(refusal.message, version.id)
      assert.strictEqual(registry.routing(tenant).byName("hello")?.versionId, version.id)
      yield* registry.deleteFunction({ tenant, functionId: owner.id, force: true })
      assert.deepStrictEqual(fake.entries(), [])
      assert.strictEqual(registry.routing(tenant).byName("hello"), undefined)
      assert.strictEqual(registry.routing(tenant).byVersionId(version.id), undefined)
    })
  )

  it.effect("a creation cut off after the name was reserved does not block the name", () =>
    Effect.gen(function* () {
      const fake = FakeKeyValue.make()
      const registry = yield* open(fake)
      fake.failWrite(2)
      const error = yield* Effect.flip(registry.createFunction({ tenant, name: "cut" }))
      assert.strictEqual(error._tag, "FabricUnavailable")
      const created = yield* registry.createFunction({ tenant, name: "cut" })
      assert.strictEqual((yield* registry.findFunction(tenant, "cut")).id, created.id)
      assert.deepStrictEqual(
        registry.listFunctions({ tenant, limit: 10 }).items.map(({ id }) => id),
        [created.id]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("the active version must be one of the function's own", () =>
    Effect.gen(function* () {
      const { registry, owner } = yield* withHello
      const other = yield* registry.createFunction({ tenant, name: "other" })
      const foreign = yield* registry.createVersion({ tenant, functionId: other.id, spec })
      const error = yield* Effect.flip(registry.setActive({ tenant, functionId: owner.id, versionId: foreign.id }))
      assert.strictEqual(error._tag, "VersionOfAnotherFunction")
    })
  )

  it.effect("deleting the active version leaves the function without one, and says so to listeners", () =>
    Effect.gen(function* () {
      const { registry, owner, version } = yield* withHello
      yield* registry.deploy({ tenant, versionId: version.id, spec: deploymentDefaults })
      const told: Array<string> = []
      registry.routing(tenant).onChange((versionId) => told.push(versionId))
      yield* registry.deleteVersion({ tenant, versionId: version.id, force: true })
      assert.strictEqual((yield* registry.getFunction(tenant, owner.id)).activeVersionId, null)
      assert.deepStrictEqual([...new Set(told)], [version.id])
    })
  )

  it.effect("another tenant neither sees nor changes a function", () =>
    Effect.gen(function* () {
      const { registry, owner, version } = yield* withHello
      yield* registry.deploy({ tenant, versionId: version.id, spec: deploymentDefaults })
      const stranger = "stranger"
      assert.strictEqual((yield* Effect.flip(registry.getFunction(stranger, owner.id)))._tag, "FunctionNotFound")
      assert.strictEqual((yield* Effect.flip(registry.findFunction(stranger, "hello")))._tag, "FunctionNotFound")
      assert.strictEqual((yield* Effect.flip(registry.undeploy(stranger, version.id)))._tag, "VersionNotFound")
      assert.strictEqual(registry.routing(stranger).byVersionId(version.id), undefined)
      assert.strictEqual(registry.routing(stranger).byFunctionId(owner.id), undefined)
      assert.strictEqual(registry.routing(stranger).byName("hello"), undefined)
      assert.deepStrictEqual(registry.listFunctions({ tenant: stranger, limit: 10 }).items, [])
      // The same name is free for the other tenant.
      yield* registry.createFunction({ tenant: stranger, name: "hello" })
    })
  )

  it.effect("a spec that does not hold is refused with the field, and changes nothing", () =>
    Effect.gen(function* () {
      const { fake, registry, version } = yield* withHello
      const before = fake.entries()
      const error = yield* Effect.flip(
        registry.deploy({ tenant, versionId: version.id, spec: { ...deploymentDefaults, minInstances: 9 } })
      )
      assert.strictEqual(error._tag, "SpecInvalid")
      assert.include(error.message, "minInstances")
      assert.strictEqual(
        (yield* Effect.flip(registry.createFunction({ tenant, name: "Not A Name" })))._tag,
        "SpecInvalid"
      )
      assert.deepStrictEqual(fake.entries(), before)
    })
  )

  it.effect("pages in order of name cover every function exactly once", () =>
    Effect.gen(function* () {
      const registry = yield* open(FakeKeyValue.make())
      const names = ["b", "a", "ab", "a-1", "zz", "abc", "a0"]
      yield* Effect.forEach(names, (name) => registry.createFunction({ tenant, name }))
      const walk = (prefix: string) => {
        const seen: Array<string> = []
        let after: string | undefined
        do {
          const page = registry.listFunctions({ tenant, prefix, limit: 2, ...(after === undefined ? {} : { after }) })
          seen.push(...page.items.map(({ name }) => name))
          after = page.next ?? undefined
        } while (after !== undefined)
        return seen
      }
      assert.deepStrictEqual(walk(""), [...names].sort())
      assert.deepStrictEqual(walk("ab"), ["ab", "abc"])
    }).pipe(Effect.scoped)
  )

  it.effect("an unreadable record is treated as absent and harms nothing else", () =>
    Effect.gen(function* () {
      const { fake, registry } = yield* withHello
      yield* fake.service.put("functions/broken", new TextEncoder().encode("{"))
      yield* fake.service.put("deployments/broken", new Uint8Array([255, 0, 1]))
      assert.strictEqual((yield* registry.findFunction(tenant, "hello")).name, "hello")
      const again = yield* open(fake)
      assert.strictEqual((yield* again.findFunction(tenant, "hello")).name, "hello")
    }).pipe(Effect.scoped)
  )

  it.effect("V2: a counter that cannot be read goes on behind the highest number that is there", () =>
    Effect.gen(function* () {
      const { fake, registry, owner } = yield* withHello
      const create = registry.createVersion({ tenant, functionId: owner.id, spec })
      const { number } = yield* create
      yield* fake.service.put(`version-counters/${owner.id}`, new TextEncoder().encode("{"))
      assert.strictEqual((yield* create).number, number + 1)
      assert.strictEqual((yield* create).number, number + 2)
    }).pipe(Effect.scoped)
  )

  it.effect("closing the scope ends the watching", () =>
    Effect.gen(function* () {
      const fake = FakeKeyValue.make()
      const scope = yield* Scope.make()
      const registry = yield* Scope.provide(open(fake), scope)
      yield* Scope.close(scope, Exit.void)
      yield* fake.service.put("functions/x", new TextEncoder().encode("{}"))
      assert.deepStrictEqual(registry.listFunctions({ tenant, limit: 10 }).items, [])
    })
  )
})
