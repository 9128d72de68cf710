import { assert, describe, it } from "vitest"
import { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import { PeerUnavailable } from "../peer/PeerUnavailable.ts"
import * as ControlErrors from "./ControlErrors.ts"
import * as Problem from "./Problem.ts"

const samples: ReadonlyArray<ControlErrors.ControlError> = [
  new ControlErrors.FunctionNotFound({ reference: "f" }),
  new ControlErrors.VersionNotFound({ versionId: "v" }),
  new ControlErrors.VersionOfAnotherFunction({ versionId: "v", functionId: "f" }),
  new ControlErrors.NotDeployed({ versionId: "v" }),
  new ControlErrors.FunctionNameTaken({ name: "n", functionId: "f" }),
  new ControlErrors.StillDeployed({ what: "function n", versionIds: ["1", "2", "3", "4"] }),
  new ControlErrors.SpecInvalid({ what: "the version", issues: [{ path: "gpu.count", message: "too many" }] }),
  new ControlErrors.RegistryFull({ what: "functions", limit: 1 }),
  new ControlErrors.ConcurrentChange({ key: "k" }),
  new ControlErrors.InstanceNotFound({ instanceId: "i" }),
  new ControlErrors.ClusterNotFound({ cluster: "c" }),
  new ControlErrors.RequestNotFound({ requestId: "r" }),
  new ControlErrors.RequestEnded({ requestId: "r", state: "responded" }),
  new ControlErrors.DeadLetterNotFound({ requestId: "r" }),
  new ControlErrors.DeadLetterIncomplete({ requestId: "r" }),
  new ControlErrors.ReplayRefused({ requestId: "r", reason: "the queue is full" }),
  new PeerUnavailable({ peer: "agent", reason: "it did not answer logs within 3000 ms" }),
  new FabricUnavailable({ port: "KeyValue", operation: "put", reason: "full", retryable: true }),
  new OutcomeUnknown({ port: "KeyValue", operation: "put", reason: "timeout" })
]

describe("the table of failures", () => {
  it("has an entry for every failure, and every entry is reached", () => {
    assert.sameMembers(
      samples.map(({ _tag }) => _tag as string),
      Object.keys(Problem.controlErrors)
    )
  })

  it.each(samples)("$_tag becomes problem details with a sentence", (error) => {
    const problem = Problem.fromControlError(error, "/v1/x")
    assert.strictEqual(problem.status, Problem.controlErrors[error._tag].status)
    assert.strictEqual(problem.instance, "/v1/x")
    assert.isAbove(problem.detail.length, 20)
    assert.match(problem.type, /^urn:millrace:problem:[a-z]+(-[a-z]+)*$/)
  })

  it("says which field of a spec is wrong as a JSON pointer", () => {
    const problem = Problem.fromControlError(samples[6]!, "/")
    assert.deepStrictEqual(problem.errors, [{ in: "body", pointer: "/gpu/count", detail: "too many" }])
  })

  it("a long list of deployed versions is cut in the sentence", () => {
    assert.include(samples[5]!.message, "(1, 2, 3 and 1 more)")
  })
})
