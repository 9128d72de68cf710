import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import * as AgentBackend from "./AgentBackend.ts"
import * as Configuration from "./Configuration.ts"

const read = (agent: object, rest: Partial<Configuration.Sources> = {}) =>
  Configuration.read({ file: JSON.stringify({ state: "/state", agent }), environment: {}, set: [], ...rest })

const configOf = (agent: object, rest?: Partial<Configuration.Sources>) => {
  const result = read(agent, rest)
  if (Result.isFailure(result)) throw new Error(JSON.stringify(result.failure))
  return result.success.config
}

const choice = (agent: object, rest?: Partial<Configuration.Sources>) => AgentBackend.choiceOf(configOf(agent, rest))

const problems = (agent: object, rest?: Partial<Configuration.Sources>) => {
  const result = read(agent, rest)
  return Result.isFailure(result) ? result.failure.map(({ path, problem }) => `${path}: ${problem}`) : []
}

describe("the backend of an agent", () => {
  it("is swapped by one line, and each takes what it needs", () => {
    assert.deepStrictEqual(choice({}), { kind: "process", isolation: "none" })
    assert.deepStrictEqual(choice({ backend: "process", isolation: "bubblewrap" }), {
      kind: "process",
      isolation: "bubblewrap"
    })
    assert.deepStrictEqual(choice({ backend: "docker", dockerImage: "node:24" }), {
      kind: "docker",
      baseImage: "node:24"
    })
    assert.deepInclude(choice({ backend: "simulated" }), { kind: "simulated", gpus: [], gpuStart: undefined })
    const simulated = choice({ backend: "simulated", gpu: "h100x8x4", startModel: "lora" })
    if (simulated.kind !== "simulated") return assert.fail("another backend was chosen")
    assert.deepStrictEqual(
      simulated.gpus.map(({ gpuKind, gpusPerNode, nodes }) => [gpuKind, gpusPerNode, nodes]),
      [["H100", 8, 4]]
    )
    assert.strictEqual(simulated.gpuStart?.name, "lora")
    assert.deepStrictEqual(
      choice({
        backend: "kubernetes",
        image: "node:24-slim",
        namespace: "functions",
        workerImage: "millrace:1",
        charts: "on",
        kubeconfig: "/etc/kube",
        cluster: "east",
        region: "eu",
        workerUrl: "ws://10.0.0.7:8789"
      }),
      {
        kind: "kubernetes",
        image: "node:24-slim",
        namespace: "functions",
        workerImage: "millrace:1",
        charts: true,
        kubeconfig: "/etc/kube",
        cluster: "east",
        region: "eu"
      }
    )
  })

  it("takes the variables that `dev` takes; those of another backend are there for others and no problem", () => {
    const environment = {
      MILLRACE_BACKEND: "kubernetes",
      MILLRACE_IMAGE: "node:24-slim",
      MILLRACE_NAMESPACE: "functions",
      MILLRACE_DOCKER_IMAGE: "node:24",
      MILLRACE_ISOLATION: "bubblewrap"
    }
    assert.deepInclude(choice({}, { environment }), {
      kind: "kubernetes",
      image: "node:24-slim",
      namespace: "functions",
      kubeconfig: undefined
    })
    assert.deepStrictEqual(choice({}, { environment: { ...environment, MILLRACE_BACKEND: "docker" } }), {
      kind: "docker",
      baseImage: "node:24"
    })
  })

  it("a setting of another backend is refused with what to write", () => {
    assert.deepStrictEqual(problems({ image: "node:24", gpu: "h100" }, { set: ["agent.dockerImage=node:24"] }), [
      'agent.gpu: it belongs to the backend simulated, and agent.backend is process: write "agent.backend": "simulated", or leave it out',
      'agent.dockerImage: it belongs to the backend docker, and agent.backend is process: write "agent.backend": "docker", or leave it out',
      'agent.image: it belongs to the backend kubernetes, and agent.backend is process: write "agent.backend": "kubernetes", or leave it out'
    ])
    assert.deepStrictEqual(
      problems({ backend: "docker", isolation: "none", namespace: "a", kubeconfig: "/a" }).map(
        (line) => line.split(":")[0]
      ),
      ["agent.isolation", "agent.namespace", "agent.kubeconfig"]
    )
  })

  it("values that cannot be are refused with the setting and what it takes", () => {
    assert.deepStrictEqual(problems({ backend: "podman", startModel: "slow", namespace: "Functions", image: "a b" }), [
      'agent.backend: "podman" (file) is not taken: it is one of process, simulated, docker, kubernetes',
      'agent.startModel: "slow" (file) is not taken: it is one of process, lora, base-model, container',
      'agent.image: "a b" (file) is not taken: it is an image such as node:24-slim',
      'agent.namespace: "Functions" (file) is not taken: it is 1 to 63 of a-z, 0-9, and between them -'
    ])
    assert.match(
      problems({ backend: "simulated", gpu: "h100x9" }).join(),
      /^agent\.gpu: h100x9: a node has 1 to 8 H100, and not 9; a cluster is written as KINDxGPUSxNODES/
    )
  })

  it("an address where its instances cannot connect is refused with one where they can", () => {
    assert.deepStrictEqual(problems({ backend: "kubernetes", workerUrl: "unix:/state/workers/worker.sock" }), [
      "agent.workerUrl: a Pod cannot reach unix:/state/workers/worker.sock: write an address that Pods reach, such as ws://10.0.0.7:8789"
    ])
    assert.deepStrictEqual(problems({ backend: "docker", workerUrl: "ws://127.0.0.1:8789" }), [
      "agent.workerUrl: containers have no network and are given /state/workers alone: leave it out, and give the " +
        'invocation plane of this machine "invocation.workerSocket": "/state/workers/worker.sock"'
    ])
    assert.deepStrictEqual(problems({ backend: "docker", workerUrl: "unix:/state/workers/other.sock" }), [])
    assert.deepStrictEqual(problems({ workerUrl: "ws://127.0.0.1:8789" }), [])
  })

  it("Pods are not sent to an address of the gateway's own machine, unless it is the operator who says it", () => {
    const kubernetes = configOf({ backend: "kubernetes" })
    for (const url of ["ws://127.0.0.1:8789", "grpc://localhost:1", "ws://[::1]:8789", "unix:/a,ws://127.0.0.1:1"]) {
      assert.include(AgentBackend.whyUnreachable(kubernetes, url), "set agent.workerUrl")
      assert.isUndefined(AgentBackend.whyUnreachable(configOf({}), url))
    }
    for (const url of ["ws://10.0.0.7:8789", "ws://127.0.0.1:8789,ws://gateway:8789", "ws://localhost.example:1"]) {
      assert.isUndefined(AgentBackend.whyUnreachable(kubernetes, url))
    }
  })
})
