/**
 * Laws of the registry (`src/planes/control/Registry.ts`) and of its table in memory.
 *
 * The model is a map from names to functions, each with its versions and their generations. Commands collide on purpose:
 * three names, two registries over one store that tells late, few versions. Of 200 runs of about 15 commands each, two
 * thirds of the commands are refused (taken names, deployed functions, missing versions), which is where R4 lives.
 */
import { Effect, Exit, Result, Scope } from "effect"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { deploymentDefaults, type VersionSpec } from "../src/planes/control/Domain.ts"
import * as Registry from "../src/planes/control/Registry.ts"
import * as RegistryTable from "../src/planes/control/RegistryTable.ts"
import { type Entry, type Change as KeyChange, KeyValue } from "../src/planes/fabric/KeyValue.ts"
import * as FakeKeyValue from "../tests/control/FakeKeyValue.ts"
import { upholds } from "./upholds.ts"

type Service = Registry.Registry["Service"]
const tenant = Registry.defaultTenant
const spec: VersionSpec = { command: ["x"], environment: {}, durability: "accepted", inferencePath: "/" }

interface ModelVersion {
  readonly number: number
  generation: number | undefined
}
interface ModelFunction {
  readonly id: string
  readonly versions: Map<string, ModelVersion>
  active: string | null
  last: number
}
type Model = Map<string, ModelFunction>

interface Real {
  readonly registries: ReadonlyArray<Service>
  readonly fake: FakeKeyValue.FakeKeyValue
}

const open = (fake: FakeKeyValue.FakeKeyValue, scope: Scope.Scope) =>
  Effect.runPromise(Registry.make().pipe(Effect.provideService(KeyValue, fake.service), Scope.provide(scope)))

const stored = (fake: FakeKeyValue.FakeKeyValue) =>
  JSON.stringify(fake.entries().map(({ key, value }) => [key, new TextDecoder().decode(value)]))

/** Every read and every route says what the model says. */
const agree = (registry: Service, model: Model) => {
  const { items } = registry.listFunctions({ tenant, limit: 100 })
  assert.deepStrictEqual(
    items.map(({ name, id, activeVersionId }) => [name, id, activeVersionId]),
    [...model].sort(([left], [right]) => (left < right ? -1 : 1)).map(([name, { id, active }]) => [name, id, active])
  )
  const routing = registry.routing(tenant)
  for (const [name, owner] of model) {
    assert.strictEqual(routing.byName(name)?.versionId ?? null, owner.active)
    assert.strictEqual(routing.byFunctionId(owner.id)?.versionId ?? null, owner.active)
    for (const [versionId, version] of owner.versions) {
      const route = routing.byVersionId(versionId)
      assert.strictEqual(route?.functionName, name)
      assert.strictEqual(route?.deployment?.generation, version.generation)
    }
  }
}

/** Another process learns of a change a turn later. */
const caughtUp = () => new Promise<void>((resolve) => setImmediate(resolve))

abstract class Change implements fc.AsyncCommand<Model, Real> {
  readonly via: number
  readonly pick: number
  constructor(via: number, pick: number) {
    this.via = via
    this.pick = pick
  }
  check = () => true
  abstract change(registry: Service, model: Model): Promise<string | undefined>

  async run(model: Model, { registries, fake }: Real) {
    const registry = registries[this.via % registries.length]!
    const before = stored(fake)
    const refusal = await this.change(registry, model)
    // R4, R2.
    if (refusal !== undefined) assert.strictEqual(stored(fake), before, `refused with ${refusal}`)
    agree(registry, model)
    await caughtUp()
    for (const other of registries) agree(other, model)
  }
  toString = () => `${this.constructor.name}(via ${this.via % 2}, ${this.pick})`

  name() {
    return `f${this.pick % 3}`
  }
  version(model: Model) {
    const all = [...model.values()].flatMap((owner) =>
      [...owner.versions].map(([id, version]) => ({ owner, id, version }))
    )
    return all.length === 0 ? undefined : all[this.pick % all.length]
  }
}

const outcome = async <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>) =>
  Effect.runPromise(Effect.result(effect))

class CreateFunction extends Change {
  async change(registry: Service, model: Model) {
    const created = await outcome(registry.createFunction({ tenant, name: this.name() }))
    // R1.
    assert.strictEqual(Result.isFailure(created), model.has(this.name()))
    if (Result.isFailure(created)) return created.failure._tag
    model.set(this.name(), { id: created.success.id, versions: new Map(), active: null, last: 0 })
    return undefined
  }
}

class CreateVersion extends Change {
  async change(registry: Service, model: Model) {
    const owner = model.get(this.name())
    const created = await outcome(registry.createVersion({ tenant, functionId: owner?.id ?? "none", spec }))
    assert.strictEqual(Result.isFailure(created), owner === undefined)
    if (Result.isFailure(created) || owner === undefined) return "FunctionNotFound"
    // R3.
    owner.last += 1
    assert.strictEqual(created.success.number, owner.last)
    owner.versions.set(created.success.id, { number: owner.last, generation: undefined })
    return undefined
  }
}

class Deploy extends Change {
  async change(registry: Service, model: Model) {
    const target = this.version(model)
    const versionId = target?.id ?? "none"
    const deployed = await outcome(registry.deploy({ tenant, versionId, spec: deploymentDefaults }))
    assert.strictEqual(Result.isFailure(deployed), target === undefined)
    if (target === undefined) return "VersionNotFound"
    target.version.generation ??= 1
    target.owner.active ??= target.id
    return undefined
  }
}

class Restart extends Change {
  async change(registry: Service, model: Model) {
    const target = this.version(model)
    const restarted = await outcome(registry.restart(tenant, target?.id ?? "none"))
    if (target?.version.generation === undefined) {
      assert.isTrue(Result.isFailure(restarted))
      return "NotDeployed"
    }
    target.version.generation += 1
    return undefined
  }
}

class Undeploy extends Change {
  async change(registry: Service, model: Model) {
    const target = this.version(model)
    await outcome(registry.undeploy(tenant, target?.id ?? "none"))
    if (target === undefined) return "VersionNotFound"
    target.version.generation = undefined
    return undefined
  }
}

class SetActive extends Change {
  async change(registry: Service, model: Model) {
    const target = this.version(model)
    const owner = model.get(this.name())
    const chosen = await outcome(
      registry.setActive({ tenant, functionId: owner?.id ?? "none", versionId: target?.id ?? "none" })
    )
    if (owner === undefined || target === undefined || target.owner !== owner) {
      assert.isTrue(Result.isFailure(chosen))
      return "refused"
    }
    owner.active = target.id
    return undefined
  }
}

class DeleteVersion extends Change {
  async change(registry: Service, model: Model) {
    const target = this.version(model)
    const force = this.pick % 2 === 0
    const deleted = await outcome(registry.deleteVersion({ tenant, versionId: target?.id ?? "none", force }))
    const refused = target === undefined || (target.version.generation !== undefined && !force)
    assert.strictEqual(Result.isFailure(deleted), refused)
    if (refused) return "refused"
    target.owner.versions.delete(target.id)
    if (target.owner.active === target.id) target.owner.active = null
    return undefined
  }
}

class DeleteFunction extends Change {
  async change(registry: Service, model: Model) {
    const owner = model.get(this.name())
    const force = this.pick % 2 === 0
    const deleted = await outcome(registry.deleteFunction({ tenant, functionId: owner?.id ?? "none", force }))
    const isDeployed = [...(owner?.versions.values() ?? [])].some(({ generation }) => generation !== undefined)
    const refused = owner === undefined || (isDeployed && !force)
    assert.strictEqual(Result.isFailure(deleted), refused)
    if (refused) return "refused"
    model.delete(this.name())
    return undefined
  }
}

const kinds = [
  CreateFunction,
  CreateFunction,
  CreateVersion,
  CreateVersion,
  Deploy,
  Deploy,
  Restart,
  Undeploy,
  SetActive,
  DeleteVersion,
  DeleteFunction
]

const commands = fc.commands(
  kinds.map((Kind) => fc.tuple(fc.nat(1), fc.nat(11)).map(([via, pick]) => new Kind(via, pick))),
  { maxCommands: 30, size: "max" }
)

describe("the registry", () => {
  it("R1-R4: any sequence of changes through two registries ends where a simple map ends", async () => {
    await upholds(
      fc.asyncProperty(commands, fc.boolean(), async (sequence, lag) => {
        const fake = FakeKeyValue.make({ lag })
        const scope = Scope.makeUnsafe()
        const registries = [await open(fake, scope), await open(fake, scope)]
        const model: Model = new Map()
        await fc.asyncModelRun(() => ({ model, real: { registries, fake } }), sequence)
        // What is stored is enough: a registry opened now says the same.
        agree(await open(fake, scope), model)
        await Effect.runPromise(Scope.close(scope, Exit.void))
      }),
      { numRuns: 200 }
    )
  })

  it("R1: of any number of registries that create one name at once, exactly one succeeds", async () => {
    await upholds(
      fc.asyncProperty(fc.integer({ min: 2, max: 5 }), fc.boolean(), async (count, lag) => {
        const fake = FakeKeyValue.make({ lag })
        const scope = Scope.makeUnsafe()
        const registries: Array<Service> = []
        for (let index = 0; index < count; index++) registries.push(await open(fake, scope))
        const outcomes = await Promise.all(
          registries.map((registry) => outcome(registry.createFunction({ tenant, name: "one" })))
        )
        assert.strictEqual(outcomes.filter(Result.isSuccess).length, 1)
        await caughtUp()
        for (const registry of registries) {
          assert.strictEqual(registry.listFunctions({ tenant, limit: 10 }).items.length, 1)
        }
        await Effect.runPromise(Scope.close(scope, Exit.void))
      }),
      { numRuns: 50 }
    )
  })

  it("R5: a change cut off at any write leaves nothing that blocks the same change after a restart", async () => {
    const prepared = async (scope: Scope.Scope) => {
      const fake = FakeKeyValue.make()
      const registry = await open(fake, scope)
      const owner = await Effect.runPromise(registry.createFunction({ tenant, name: "f" }))
      const version = await Effect.runPromise(registry.createVersion({ tenant, functionId: owner.id, spec }))
      await Effect.runPromise(registry.deploy({ tenant, versionId: version.id, spec: deploymentDefaults }))
      return { fake, registry, functionId: owner.id, versionId: version.id }
    }
    type Prepared = Awaited<ReturnType<typeof prepared>>
    const changes: Record<
      string,
      (registry: Service, at: Prepared) => Effect.Effect<unknown, { readonly _tag: string }>
    > = {
      createFunction: (registry) => registry.createFunction({ tenant, name: "g" }),
      createVersion: (registry, { functionId }) => registry.createVersion({ tenant, functionId, spec }),
      restart: (registry, { versionId }) => registry.restart(tenant, versionId),
      undeploy: (registry, { versionId }) => registry.undeploy(tenant, versionId),
      deleteVersion: (registry, { versionId }) => registry.deleteVersion({ tenant, versionId, force: true }),
      deleteFunction: (registry, { functionId }) => registry.deleteFunction({ tenant, functionId, force: true })
    }
    let cuts = 0
    for (const [name, change] of Object.entries(changes)) {
      for (let write = 1; write <= 8; write++) {
        const scope = Scope.makeUnsafe()
        const at = await prepared(scope)
        at.fake.failWrite(write)
        const first = await outcome(change(at.registry, at))
        at.fake.failWrite(0)
        if (Result.isSuccess(first)) break
        cuts += 1
        const again = await open(at.fake, scope)
        const second = await outcome(change(again, at))
        // Deleting may have happened before the cut: then there is nothing left to delete.
        const tag = Result.isFailure(second) ? second.failure._tag : "done"
        assert.include(["done", "FunctionNotFound", "VersionNotFound"], tag, `${name} cut at write ${write}`)
        assert.isTrue(tag === "done" || name.startsWith("delete"), `${name} cut at write ${write}: ${tag}`)
        // Whatever is shown is whole.
        for (const { id } of again.listFunctions({ tenant, limit: 10 }).items) {
          await Effect.runPromise(again.getFunction(tenant, id))
        }
        await Effect.runPromise(Scope.close(scope, Exit.void))
      }
    }
    assert.isAtLeast(cuts, 10)
  })
})

describe("the table in memory", () => {
  const ids = ["a", "b"].map((letter) => `00000000-0000-4000-8000-00000000000${letter}`)
  const versionIds = ["c", "d", "e"].map((letter) => `00000000-0000-4000-8000-00000000000${letter}`)
  const at = "2026-01-01T00:00:00.000Z"
  const record = (value: unknown) => JSON.stringify(value)

  const write = fc.oneof(
    fc.record({
      area: fc.constant("functions" as const),
      id: fc.constantFrom(...ids),
      active: fc.constantFrom(null, ...versionIds)
    }),
    fc.record({
      area: fc.constant("function-names" as const),
      id: fc.constantFrom("default/f", "default/g"),
      to: fc.constantFrom(...ids)
    }),
    fc.record({
      area: fc.constant("versions" as const),
      id: fc.constantFrom(...versionIds),
      owner: fc.constantFrom(...ids)
    }),
    fc.record({
      area: fc.constant("deployments" as const),
      id: fc.constantFrom(...versionIds),
      generation: fc.integer({ min: 1, max: 3 })
    })
  )
  type Write = typeof write extends fc.Arbitrary<infer T> ? T : never

  const contentOf = (one: Write): string => {
    switch (one.area) {
      case "functions":
        return record({
          id: one.id,
          tenant,
          name: one.id === ids[0] ? "f" : "g",
          createdAt: at,
          activeVersionId: one.active
        })
      case "function-names":
        return record({ functionId: one.to })
      case "versions":
        return record({ id: one.id, functionId: one.owner, tenant, number: 1, createdAt: at, spec })
      case "deployments":
        return record({
          versionId: one.id,
          functionId: ids[0],
          tenant,
          generation: one.generation,
          createdAt: at,
          spec: deploymentDefaults
        })
    }
  }

  const changes = fc.array(fc.tuple(write, fc.integer({ min: 0, max: 4 })), { maxLength: 30 })

  interface Seen {
    readonly routes: ReadonlyArray<ReadonlyArray<unknown> | undefined>
    readonly names: ReadonlyArray<ReadonlyArray<unknown> | undefined>
  }

  /** What a reader sees, by the plainest code that could be right. */
  const folded = (entries: ReadonlyMap<string, string>): Seen => {
    const get = (key: string) => {
      const found = entries.get(key)
      return found === undefined ? undefined : JSON.parse(found)
    }
    const functionOf = (id: string) => {
      const found = get(`functions/${id}`)
      return found !== undefined && get(`function-names/default/${found.name}`)?.functionId === id ? found : undefined
    }
    const route = (versionId: string) => {
      const version = get(`versions/${versionId}`)
      const owner = version === undefined ? undefined : functionOf(version.functionId)
      return owner === undefined ? undefined : [owner.name, get(`deployments/${versionId}`)?.generation]
    }
    return {
      routes: versionIds.map(route),
      names: ["f", "g"].map((name) => {
        const owner = get(`function-names/default/${name}`)?.functionId
        const active = functionOf(owner)?.activeVersionId
        return active == null || get(`versions/${active}`)?.functionId !== owner
          ? undefined
          : route(active)?.concat(active)
      })
    }
  }

  const seen = (table: RegistryTable.RegistryTable): Seen => {
    const routing = table.routing(tenant)
    const shown = (route: ReturnType<typeof routing.byName>) =>
      route === undefined ? undefined : [route.functionName as unknown, route.deployment?.generation]
    return {
      routes: versionIds.map((id) => shown(routing.byVersionId(id))),
      names: ["f", "g"].map((name) => {
        const route = routing.byName(name)
        return shown(route)?.concat(route?.versionId)
      })
    }
  }

  it("T1, T2: after each change the reads equal a fold over the store, and who listens hears of every route that changed", () => {
    upholds(
      fc.property(changes, (sequence) => {
        // So few that most are built more than once.
        const table = RegistryTable.make({ onListenerFailure: (failure) => assert.fail(String(failure)), routesMax: 2 })
        const entries = new Map<string, string>()
        const told = new Set<string>()
        table.routing(tenant).onChange((versionId) => told.add(versionId))
        let revision = 0
        for (const [one, chance] of sequence) {
          const key = `${one.area}/${one.id}`
          const before = folded(entries)
          told.clear()
          revision += 1
          if (chance === 0) {
            entries.delete(key)
            table.apply(one.area, { _tag: "Deleted", key, revision })
          } else {
            entries.set(key, contentOf(one))
            const entry: Entry = { key, value: new TextEncoder().encode(contentOf(one)), revision }
            assert.isUndefined(table.apply(one.area, { _tag: "Put", entry }))
          }
          const after = folded(entries)
          assert.deepStrictEqual(seen(table), after)
          for (const [index, versionId] of versionIds.entries()) {
            if (JSON.stringify(before.routes[index]) !== JSON.stringify(after.routes[index]))
              assert.isTrue(told.has(versionId))
          }
          for (const index of [0, 1]) {
            const [left, right] = [before.names[index], after.names[index]]
            if (JSON.stringify(left) === JSON.stringify(right)) continue
            assert.isTrue([left?.at(-1), right?.at(-1)].some((versionId) => told.has(String(versionId))))
          }
        }
      }),
      { numRuns: 2_000 }
    )
  })

  it("P1: one that began with snapshots says what one says that heard of everything, whatever changed while they were written", () => {
    upholds(
      fc.property(changes, changes, changes, fc.nat({ max: 3 }), (before, during, after, gap) => {
        const whole = RegistryTable.make({ onListenerFailure: () => {} })
        const heard: Array<{
          readonly area: RegistryTable.Area
          readonly change: KeyChange
          readonly revision: number
        }> = []
        const apply = ([one, chance]: (typeof before)[number]) => {
          const key = `${one.area}/${one.id}`
          const revision = heard.length + 1
          const entry = { key, value: new TextEncoder().encode(contentOf(one)), revision }
          const change: KeyChange = chance === 0 ? { _tag: "Deleted", key, revision } : { _tag: "Put", entry }
          heard.push({ area: one.area, change, revision })
          whole.apply(one.area, change)
        }
        before.forEach(apply)
        const meanwhile = [...during]
        const begun = RegistryTable.make({ onListenerFailure: () => {} })
        const positions = new Map<RegistryTable.Area, number>()
        // Each is written row by row, and is loaded as it was written.
        for (const area of RegistryTable.areas) {
          positions.set(area, heard.length)
          for (const chunk of whole.chunks(area, 1)) {
            assert.deepStrictEqual(begun.load(area, chunk), [])
            meanwhile.splice(0, gap).forEach(apply)
          }
        }
        meanwhile.forEach(apply)
        after.forEach(apply)
        for (const { area, change, revision } of heard) {
          if (revision > (positions.get(area) ?? 0)) begun.apply(area, change)
        }
        for (const area of RegistryTable.areas) {
          assert.sameMembers([...begun.keys(area)], [...whole.keys(area)])
          assert.strictEqual(begun.count(area), whole.count(area))
          begun.apply(area, { _tag: "CaughtUp" })
        }
        assert.deepStrictEqual(seen(begun), seen(whole))
        const page = { tenant, prefix: "", after: "", limit: 9 }
        assert.deepStrictEqual(begun.names(page), whole.names(page))
        for (const id of versionIds) {
          assert.deepStrictEqual(begun.version(id), whole.version(id))
          assert.deepStrictEqual(begun.deployment(id), whole.deployment(id))
        }
        for (const id of ids) assert.deepStrictEqual(begun.functionRecord(id), whole.functionRecord(id))
      }),
      { numRuns: 1_000 }
    )
  })

  it("T3: in whichever order the areas arrive, the end is the same", () => {
    upholds(
      fc.property(
        changes,
        fc.shuffledSubarray([...RegistryTable.areas], { minLength: RegistryTable.areas.length }),
        (sequence, order) => {
          const puts = sequence.map(([one], index) => ({
            area: one.area,
            entry: {
              key: `${one.area}/${one.id}`,
              value: new TextEncoder().encode(contentOf(one)),
              revision: index + 1
            }
          }))
          const inOrder = RegistryTable.make({ onListenerFailure: () => {} })
          for (const { area, entry } of puts) inOrder.apply(area, { _tag: "Put", entry })
          const byArea = RegistryTable.make({ onListenerFailure: () => {} })
          for (const wanted of order) {
            for (const { area, entry } of puts) if (area === wanted) byArea.apply(area, { _tag: "Put", entry })
          }
          assert.deepStrictEqual(seen(byArea), seen(inOrder))
        }
      )
    )
  })
})
