import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import * as Configuration from "./Configuration.ts"
import * as ServeConfig from "./ServeConfig.ts"

const read = (file: string, rest: Partial<Configuration.Sources> = {}) =>
  Configuration.read({ file, environment: {}, set: [], ...rest })

const problems = (file: string, rest?: Partial<Configuration.Sources>) => {
  const result = read(file, rest)
  return Result.isFailure(result) ? result.failure.map(({ path, problem }) => `${path}: ${problem}`) : []
}

const held = (file: string, rest?: Partial<Configuration.Sources>) => {
  const result = read(file, rest)
  if (Result.isFailure(result)) throw new Error(JSON.stringify(result.failure))
  return result.success
}

describe("the configuration of a service", () => {
  it("nothing said is the default, and every default is itself something that is taken", () => {
    const { config, held: all } = held("")
    assert.strictEqual(config.control.port, 8788)
    assert.deepStrictEqual(config.nats.urls, [])
    assert.isTrue(all.every(({ source }) => source === "default"))
    const given = all.filter(({ value }) => value !== undefined && !(Array.isArray(value) && value.length === 0))
    const file: Record<string, Record<string, unknown> | unknown> = {}
    for (const { path, value } of given) {
      const [first = "", second] = path.split(".")
      if (second === undefined) file[first] = value
      else file[first] = { ...(file[first] as object | undefined), [second]: value }
    }
    assert.deepStrictEqual(held(JSON.stringify(file)).config, config)
  })

  it("--set comes before the environment, which comes before the file; and it is told which one holds", () => {
    const file = '{ "control": { "port": 1 }, "health": { "port": 1 }, "invocation": { "port": 1 } }'
    const environment = { MILLRACE_HEALTH_PORT: "2", MILLRACE_PORT: "2" }
    const { config, held: all } = held(file, { environment, set: ["invocation.port=3"] })
    assert.deepStrictEqual([config.control.port, config.health.port, config.invocation.port], [1, 2, 3])
    const sourceOf = (path: string) => all.find((one) => one.path === path)?.source
    assert.deepStrictEqual(["control.port", "health.port", "invocation.port", "state"].map(sourceOf), [
      "file",
      "MILLRACE_HEALTH_PORT",
      "--set",
      "default"
    ])
  })

  it("comments and a comma at the end are taken, and none of it inside of strings", () => {
    const { config } = held(`\ufeff{ // why
      /* { "state": "not this" } */
      "state": "/a//b,]/* \\" */", "nats": { "urls": ["nats://a:1", "nats://b:2",], },
    }`)
    assert.strictEqual(config.state, '/a//b,]/* " */')
    assert.deepStrictEqual(config.nats.urls, ["nats://a:1", "nats://b:2"])
  })

  it("tells every problem with its path and what would be right, and for a misspelt name the nearest one", () => {
    assert.deepStrictEqual(
      problems(
        '{ "invocation": { "prot": 1, "port": 70000 }, "nats": { "durability": "none" }, "contrl": {}, "agent": 3 }',
        {
          environment: { MILLRACE_CONTROL_PORT: "x" },
          set: ["health.port", "nats.url=nats://a"]
        }
      ),
      [
        "invocation.prot: there is no such setting: did you mean invocation.port?",
        "contrl: there is no such setting: did you mean control?",
        "agent: 3 is no object: its settings are cluster, region, group, attributes, compliance, backend, isolation, gpu, startModel, dockerImage, image, namespace, workerImage, charts, kubeconfig, workerUrl, heartbeatMs, shutdownMs",
        "health.port: --set needs a value: --set health.port=VALUE",
        "nats.url: there is no such setting: did you mean nats.urls?",
        'nats.durability: "none" (file) is not taken: it is one of power-loss, process-crash-only',
        "invocation.port: 70000 (file) is not taken: it is a port, 0 to 65,535; 0 = any free one",
        'control.port: "x" (MILLRACE_CONTROL_PORT) is not taken: it is a port, 0 to 65,535; 0 = any free one'
      ]
    )
    assert.match(problems('{\n  "state": nowhere\n}')[0] ?? "", /^: this is no JSON: (?:line 2, column 12: )?/)
    assert.notInclude(problems('{ "secrets": { "worker": "short-secret" } }').join(), "short-secret")
  })

  it("two settings never have one variable", () => {
    const variables = ServeConfig.all.map(({ variable }) => variable)
    assert.deepStrictEqual([...new Set(variables)], variables)
    assert.isTrue(variables.every((name) => /^MILLRACE_[A-Z_]+$/.test(name)))
  })
})
