/**
 * The policies that a deployment can name, as machines that are ready to run.
 *
 * @module
 */
import * as Equal from "effect/Equal"
import { demand } from "./DemandPolicy.ts"
import { fixed } from "./FixedPolicy.ts"
import * as HistogramPolicy from "./HistogramPolicy.ts"
import * as HpaPolicy from "./HpaPolicy.ts"
import * as KedaPolicy from "./KedaPolicy.ts"
import * as KnativePolicy from "./KnativePolicy.ts"
import * as NvcfPolicy from "./NvcfPolicy.ts"
import type { Policy } from "./Policy.ts"
import type { Plain, PolicyChoice, PolicyName } from "./PolicyChoice.ts"
import * as Scaling from "./Scaling.ts"
import * as ShadowPolicy from "./ShadowPolicy.ts"

/** A machine under a policy that was chosen by name. */
export interface Machine extends Scaling.Running {
  readonly choice: PolicyChoice
  readonly next: (event: Scaling.Event) => readonly [Machine, ReadonlyArray<Scaling.Command>]
  /** What a watched policy would have done otherwise, the latest; nothing where none is watched. */
  readonly differences: ReadonlyArray<ShadowPolicy.Difference>
}

/** A fresh machine under this policy that begins at `desired`. */
export const start = (choice: PolicyChoice, desired = 0): Machine => {
  if (typeof choice === "string" || choice.name !== "shadow") {
    return withPolicy(typeof choice === "string" ? { name: choice } : choice, (policy) =>
      machine(policy, choice, Scaling.empty(policy, desired), () => none)
    )
  }
  return withPolicy(choice.acting, (acting) =>
    withPolicy(choice.watched, (watched) => {
      const policy = ShadowPolicy.shadow(acting, watched)
      return machine(policy, choice, Scaling.empty(policy, desired), ({ differences }) => differences)
    })
  )
}

/** Whether a machine under the one is a machine under the other. */
export const isSame = (one: PolicyChoice, other: PolicyChoice): boolean => one === other || Equal.equals(one, other)

const none: ReadonlyArray<ShadowPolicy.Difference> = []

/** Hands the policy to `use`, which must take any memory: each policy has its own. */
export const withPolicy = <Result>(
  choice: Plain | { readonly name: PolicyName },
  use: <Memory>(policy: Policy<Memory>) => Result
): Result => {
  switch (choice.name) {
    case "demand":
      return use(demand)
    case "fixed":
      return use(fixed)
    case "knative":
      return use(KnativePolicy.knative({ ...KnativePolicy.defaults, ...choice }))
    case "hpa":
      return use(HpaPolicy.hpa({ ...HpaPolicy.defaults, ...choice }))
    case "keda":
      return use(KedaPolicy.keda({ ...KedaPolicy.defaults, ...choice }))
    case "histogram":
      return use(HistogramPolicy.histogram({ ...HistogramPolicy.defaults, ...choice }))
    case "nvcf":
      return use(NvcfPolicy.nvcf({ ...NvcfPolicy.defaults, ...choice }))
  }
}

const machine = <Memory>(
  policy: Policy<Memory>,
  choice: PolicyChoice,
  state: Scaling.State<Memory>,
  differencesOf: (memory: Memory) => ReadonlyArray<ShadowPolicy.Difference>
): Machine => new PolicyMachine(policy, choice, state, differencesOf)

/** A class, because every version that was ever heard of keeps one and each look makes another. */
class PolicyMachine<Memory> implements Machine {
  readonly choice: PolicyChoice
  readonly #policy: Policy<Memory>
  readonly #state: Scaling.State<Memory>
  readonly #differencesOf: (memory: Memory) => ReadonlyArray<ShadowPolicy.Difference>

  constructor(
    policy: Policy<Memory>,
    choice: PolicyChoice,
    state: Scaling.State<Memory>,
    differencesOf: (memory: Memory) => ReadonlyArray<ShadowPolicy.Difference>
  ) {
    this.choice = choice
    this.#policy = policy
    this.#state = state
    this.#differencesOf = differencesOf
  }

  get policy(): string {
    return this.#policy.name
  }

  get desired(): number {
    return this.#state.desired
  }

  get differences(): ReadonlyArray<ShadowPolicy.Difference> {
    return this.#differencesOf(this.#state.memory)
  }

  next(event: Scaling.Event): readonly [Machine, ReadonlyArray<Scaling.Command>] {
    const [next, commands] = Scaling.step(this.#policy, this.#state, event)
    return [machine(this.#policy, this.choice, next, this.#differencesOf), commands]
  }
}
