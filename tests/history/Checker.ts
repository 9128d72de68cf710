/**
 * Says what is wrong with a history, in one pass over it and one over its requests: linear in its length.
 *
 * - K1 **lost**: a request that was promised (202, or any end told to a call with an idempotency key) has an end when it
 *   is last claimed. Where the lost ones lie is told: `prefix` (all since the first), `postfix` (all until the next
 *   crash or the end), `middle`, `all`.
 * - K2 **doubled**: one answer for each request, byte for byte; one request told for each item and key, and never more
 *   requests of an item than calls for it; one run for each
 *   token, one effect for each run; no run with a higher token after the end was told, unless a crash forgot a call that
 *   nobody was promised to find again; one settled answer.
 * - K3 **from nowhere**: what runs was called, with that body, and not refused; what is answered was effected by a run of
 *   this very request and item, before it was told.
 * - K4 **wrong tenant**: runs, answers and claims stay with the tenant that called.
 * - K5 **stale token accepted**: no answer counts whose token is lower than one under which the request had started again.
 * - K6 **late start**: no run starts after the deadline.
 * - K7 **order broken**: in a lane, what was accepted before another was even called starts first. Only first attempts
 *   without a crash since the call count.
 * - K8 **broken record**: the history contradicts itself (out of order, a call without exactly one outcome), so it proves
 *   nothing.
 *
 * Not wrong: a run that starts although its lease is over (its messages are refused: K5); runs after a crash of calls
 * whose end had been told but not promised; an unknown call that ran, or did not.
 *
 * @module
 */
import type { Answer, Attempted, Called, Claimed, ClaimResult, Entry, History, Outcome } from "./History.ts"

export type Law =
  | "lost"
  | "doubled"
  | "from-nowhere"
  | "wrong-tenant"
  | "stale-token"
  | "late-start"
  | "order-broken"
  | "broken-record"

export interface Verdict {
  readonly law: Law
  readonly where?: "all" | "prefix" | "middle" | "postfix"
  /** The item or request that it is about. */
  readonly about: string
  readonly what: string
}

export interface Options {
  /**
   * A worker's start is seen later than the plane decided it: by so much a start may come after a deadline, or after an
   * end without an answer was told. Default 1,000.
   */
  readonly startSlackMs?: number
}

export interface Counts {
  readonly calls: number
  /** Requests that were promised. */
  readonly accepted: number
  /** Of those: an end was there at the last claim. */
  readonly claimable: number
  readonly answered: number
  readonly ended: number
  readonly refused: number
  readonly unknown: number
  readonly runs: number
  /** Runs of requests beyond the first of each. */
  readonly reruns: number
  readonly crashes: number
}

export interface Report {
  readonly verdicts: ReadonlyArray<Verdict>
  readonly counts: Counts
}

interface Told {
  readonly atMs: number
  /** Undefined: an end without an answer. */
  readonly answer: Answer | undefined
  /** The promise held when it was told: it can be claimed again. */
  readonly isKept: boolean
}

interface Item {
  readonly item: string
  readonly tenant: string
  readonly body: string
  readonly lane: string | undefined
  readonly firstCalledAtMs: number
  readonly crashesAtCall: number
  deadlineAtMs: number
  calls: number
  openCalls: number
  /** Under which it ran or was told. */
  readonly requestIds: Set<string>
  allRefused: boolean
  /** The one that was told to a caller. */
  requestId: string | undefined
  acceptedAtMs: number | undefined
  isStarted: boolean
}

interface Request {
  readonly requestId: string
  item: string | undefined
  /** A caller knows its id. */
  isTold: boolean
  /** Highest token under which it started, over all planes and in each. */
  highestToken: number
  readonly highestTokenByPlane: Map<string, number>
  readonly tokens: Set<number>
  runs: number
  told: Told | undefined
  /** The answer that all others must equal. */
  answer: Answer | undefined
  settledToken: number | undefined
  promised: { readonly atMs: number; readonly segment: number } | undefined
  lastClaim: ClaimResult | undefined
}

interface Run {
  readonly attempted: Attempted
  digest: string | undefined
}

const startSlackMsDefault = 1_000

export const check = (history: History, options: Options = {}): Report => new Check(options).run(history)

class Check {
  readonly #slackMs: number
  readonly #verdicts: Array<Verdict> = []
  readonly #calls = new Map<string, { readonly called: Called; outcome: Outcome | undefined }>()
  readonly #items = new Map<string, Item>()
  /** Item by tenant and key. */
  readonly #keys = new Map<string, string>()
  readonly #requests = new Map<string, Request>()
  readonly #runs = new Map<string, Run>()
  /** Latest call time of what has started, by lane and tenant. */
  readonly #lanes = new Map<string, { calledAtMs: number; item: string }>()
  readonly #promised: Array<Request> = []
  #crashes = 0
  #counts = { answered: 0, ended: 0, refused: 0, unknown: 0 }

  constructor(options: Options) {
    this.#slackMs = options.startSlackMs ?? startSlackMsDefault
  }

  run(history: History): Report {
    let lastMs = Number.NEGATIVE_INFINITY
    for (const entry of history) {
      if (!(entry.atMs >= lastMs)) this.#say("broken-record", entry._tag, `${entry.atMs} comes after ${lastMs}`)
      lastMs = Math.max(lastMs, entry.atMs)
      this.#take(entry)
    }
    for (const [call, { outcome }] of this.#calls) {
      if (outcome === undefined) this.#say("broken-record", call, "the call has no outcome")
    }
    this.#judgeRefused()
    const claimable = this.#judgeLost()
    let runs = 0
    let reruns = 0
    for (const request of this.#requests.values()) {
      runs += request.runs
      reruns += Math.max(0, request.runs - 1)
    }
    const counts = { calls: this.#calls.size, accepted: this.#promised.length, claimable, runs, reruns }
    return { verdicts: this.#verdicts, counts: { ...counts, ...this.#counts, crashes: this.#crashes } }
  }

  #take(entry: Entry): void {
    switch (entry._tag) {
      case "Called":
        return this.#called(entry)
      case "Attempted":
        return this.#attempted(entry)
      case "Effected":
        return this.#effected(entry.run, entry.digest)
      case "Settled":
        return this.#settled(entry.requestId, entry.token, entry.taken)
      case "Claimed":
        return this.#claimed(entry)
      case "Crashed":
        this.#crashes++
        return
      default:
        return this.#outcome(entry)
    }
  }

  // --- callers -----------------------------------------------------------------------------------------------------

  #called(called: Called): void {
    if (this.#calls.has(called.call)) return this.#say("broken-record", called.call, "it is called twice")
    this.#calls.set(called.call, { called, outcome: undefined })
    const { item, tenant, body, key, lane, atMs, deadlineAtMs = Number.POSITIVE_INFINITY } = called
    const known = this.#items.get(item)
    if (known !== undefined) {
      known.calls++
      known.openCalls++
      known.deadlineAtMs = Math.max(known.deadlineAtMs, deadlineAtMs)
      if (known.tenant !== tenant || known.body !== body || key === undefined) {
        this.#say("broken-record", item, "another call for the item has another tenant or body, or no key")
      }
    } else {
      this.#items.set(item, {
        item,
        tenant,
        body,
        lane,
        firstCalledAtMs: atMs,
        crashesAtCall: this.#crashes,
        deadlineAtMs,
        calls: 1,
        openCalls: 1,
        requestIds: new Set(),
        allRefused: true,
        requestId: undefined,
        acceptedAtMs: undefined,
        isStarted: false
      })
    }
    if (key === undefined) return
    const keyed = `${tenant}\n${key}`
    const owner = this.#keys.get(keyed)
    if (owner === undefined) this.#keys.set(keyed, item)
    else if (owner !== item) this.#say("broken-record", item, `its key belongs to ${owner}`)
  }

  #outcome(outcome: Outcome): void {
    const call = this.#calls.get(outcome.call)
    if (call === undefined) return this.#say("from-nowhere", outcome.call, `${outcome._tag} without a call`)
    if (call.outcome !== undefined) return this.#say("broken-record", outcome.call, "the call has two outcomes")
    call.outcome = outcome
    const item = this.#items.get(call.called.item)
    if (item === undefined) return
    item.openCalls--
    if (outcome._tag !== "Refused") item.allRefused = false
    const isKeyed = call.called.key !== undefined
    switch (outcome._tag) {
      case "Refused":
        this.#counts.refused++
        return
      case "Unknown":
        this.#counts.unknown++
        return
      case "Accepted": {
        item.acceptedAtMs ??= outcome.atMs
        this.#promise(this.#bind(item, outcome.requestId), outcome.atMs)
        return
      }
      case "Answered": {
        this.#counts.answered++
        const request = this.#bind(item, outcome.requestId)
        if (isKeyed) this.#promise(request, outcome.atMs)
        this.#answered(request, outcome.answer, outcome.atMs)
        return
      }
      case "Ended": {
        this.#counts.ended++
        const request = this.#bind(item, outcome.requestId)
        if (isKeyed) this.#promise(request, outcome.atMs)
        this.#ended(request, outcome.atMs)
      }
    }
  }

  /** One request for each item, one item for each request. */
  #bind(item: Item, requestId: string): Request {
    const request = this.#request(requestId)
    if (request.item !== undefined && request.item !== item.item) {
      this.#say("from-nowhere", requestId, `it is the request of ${request.item} and was told to ${item.item}`)
    }
    request.item ??= item.item
    request.isTold = true
    if (item.requestId !== undefined && item.requestId !== requestId) {
      this.#say("doubled", item.item, `it became ${item.requestId} and ${requestId}`)
    }
    item.requestId ??= requestId
    this.#under(item, requestId)
    return request
  }

  /** A call becomes one request at the most. */
  #under(item: Item, requestId: string): void {
    const { requestIds, calls } = item
    if (requestIds.has(requestId)) return
    requestIds.add(requestId)
    if (requestIds.size > calls) {
      this.#say(
        "doubled",
        item.item,
        `${calls} calls became ${requestIds.size} requests: ${[...requestIds].join(", ")}`
      )
    }
  }

  #promise(request: Request, atMs: number): void {
    if (request.promised !== undefined) return
    request.promised = { atMs, segment: this.#crashes }
    this.#promised.push(request)
  }

  #claimed({ requestId, result, tenant, atMs }: Claimed): void {
    const request = this.#requests.get(requestId)
    const item = request?.item === undefined ? undefined : this.#items.get(request.item)
    if (request === undefined || item === undefined || !request.isTold) {
      return this.#say("from-nowhere", requestId, "it is claimed, and nobody was told of it")
    }
    const isFound = result.kind === "answer" || result.kind === "ended"
    if (tenant !== item.tenant) {
      if (result.kind !== "absent") this.#say("wrong-tenant", requestId, `${tenant} sees a request of ${item.tenant}`)
      return
    }
    if (!isFound && request.lastClaim !== undefined && isEnd(request.lastClaim)) {
      this.#say("lost", requestId, `its end was there at one claim and ${result.kind} at a later one`)
    }
    request.lastClaim = result
    if (result.kind === "answer") this.#answered(request, result.answer, atMs)
    else if (result.kind === "ended") this.#ended(request, atMs)
  }

  // --- answers -----------------------------------------------------------------------------------------------------

  #answered(request: Request, answer: Answer, atMs: number): void {
    const { requestId } = request
    const item = request.item === undefined ? undefined : this.#items.get(request.item)
    const run = this.#runs.get(answer.run)
    if (run === undefined)
      this.#say("from-nowhere", requestId, `it is answered by run ${answer.run}, which never began`)
    else if (run.digest === undefined) this.#say("from-nowhere", requestId, `run ${answer.run} had not done its work`)
    else if (run.digest !== answer.digest) this.#say("from-nowhere", requestId, "the answer is not what its run gave")
    if (run !== undefined && !isOf(answer, run.attempted)) {
      this.#say("from-nowhere", requestId, `the answer says other things about run ${answer.run} than the run did`)
    }
    if (answer.requestId !== requestId || answer.item !== request.item) {
      this.#say("from-nowhere", requestId, `it was answered with ${answer.requestId}, ${answer.item}`)
    }
    if (item !== undefined && answer.tenant !== item.tenant) {
      this.#say("wrong-tenant", requestId, `${item.tenant} got an answer made for ${answer.tenant}`)
    }
    const isKept = request.promised !== undefined
    const highest = isKept
      ? request.highestToken
      : (request.highestTokenByPlane.get(run?.attempted.plane ?? "") ?? request.highestToken)
    // One that was told before the others began is judged where those began.
    if (request.answer === undefined && answer.token < highest) {
      this.#say("stale-token", requestId, `its answer has token ${answer.token} and it had started under ${highest}`)
    }
    const first = request.answer
    if (first !== undefined && (first.run !== answer.run || first.digest !== answer.digest)) {
      this.#say("doubled", requestId, `it was answered by run ${first.run} and by run ${answer.run}`)
    }
    if (first === undefined && request.told !== undefined) {
      this.#say("doubled", requestId, "it ended without an answer and was answered later")
    }
    request.answer ??= answer
    request.told ??= { atMs, answer, isKept }
    // A second telling can be the one that promises.
    if (isKept && !request.told.isKept) request.told = { ...request.told, isKept }
  }

  #ended(request: Request, atMs: number): void {
    if (request.answer !== undefined) {
      this.#say("doubled", request.requestId, "it was answered and ended without an answer later")
    }
    request.told ??= { atMs, answer: undefined, isKept: request.promised !== undefined }
  }

  // --- work --------------------------------------------------------------------------------------------------------

  #attempted(attempted: Attempted): void {
    const { run, requestId, token, plane, atMs } = attempted
    if (this.#runs.has(run)) return this.#say("doubled", requestId, `run ${run} began twice`)
    this.#runs.set(run, { attempted, digest: undefined })
    const request = this.#request(requestId)
    request.runs++
    if (request.tokens.has(token)) this.#say("doubled", requestId, `token ${token} was delivered twice`)
    request.tokens.add(token)
    const item = this.#items.get(attempted.item)
    if (item === undefined) return this.#say("from-nowhere", attempted.item, "it runs and was never called")
    if (request.item !== undefined && request.item !== item.item) {
      this.#say("from-nowhere", requestId, `it is the request of ${request.item} and runs with ${item.item}`)
    }
    request.item ??= item.item
    this.#under(item, requestId)
    if (attempted.body !== item.body) this.#say("from-nowhere", requestId, "it runs with a body that nobody sent")
    if (attempted.tenant !== item.tenant) {
      this.#say("wrong-tenant", requestId, `it runs for ${attempted.tenant} and ${item.tenant} called`)
    }
    if (atMs >= item.deadlineAtMs + this.#slackMs) {
      this.#say("late-start", requestId, `it starts ${atMs - item.deadlineAtMs} ms after its deadline`)
    }
    this.#startedAfterEnd(request, attempted)
    this.#startedInOrder(item, attempted)
    request.highestToken = Math.max(request.highestToken, token)
    request.highestTokenByPlane.set(plane, Math.max(request.highestTokenByPlane.get(plane) ?? 0, token))
  }

  #startedAfterEnd({ told, requestId }: Request, { token, plane, atMs }: Attempted): void {
    if (told === undefined) return
    if (told.answer === undefined) {
      if (told.isKept && atMs >= told.atMs + this.#slackMs) {
        this.#say("doubled", requestId, `it starts ${atMs - told.atMs} ms after its end was told`)
      }
      return
    }
    // A lower token: it was delivered before the one that answered, and what it says is refused.
    if (token <= told.answer.token) return
    const planeOfAnswer = this.#runs.get(told.answer.run)?.attempted.plane
    if (told.isKept || planeOfAnswer === plane) {
      this.#say("doubled", requestId, `it starts under token ${token} after it was answered under ${told.answer.token}`)
    }
  }

  #startedInOrder(item: Item, { attempt }: Attempted): void {
    if (item.lane === undefined || item.isStarted) return
    item.isStarted = true
    const lane = `${item.tenant}\n${item.lane}`
    const latest = this.#lanes.get(lane)
    const counts = attempt === 1 && item.crashesAtCall === this.#crashes && item.acceptedAtMs !== undefined
    if (counts && latest !== undefined && (item.acceptedAtMs ?? 0) < latest.calledAtMs) {
      this.#say("order-broken", item.item, `it was accepted before ${latest.item} was called and starts after it`)
    }
    if (latest === undefined || item.firstCalledAtMs > latest.calledAtMs) {
      this.#lanes.set(lane, { calledAtMs: item.firstCalledAtMs, item: item.item })
    }
  }

  #effected(runId: string, digest: string): void {
    const run = this.#runs.get(runId)
    if (run === undefined) return this.#say("from-nowhere", runId, "an effect without a run")
    if (run.digest !== undefined) return this.#say("doubled", run.attempted.requestId, `run ${runId} had two effects`)
    run.digest = digest
  }

  #settled(requestId: string, token: number, taken: boolean): void {
    const request = this.#requests.get(requestId)
    if (request?.tokens.has(token) !== true) {
      return this.#say("from-nowhere", requestId, `token ${token} settles and was never delivered`)
    }
    if (!taken) return
    if (token < request.highestToken) {
      this.#say("stale-token", requestId, `token ${token} settles it after token ${request.highestToken} was delivered`)
    }
    if (request.settledToken !== undefined) {
      this.#say("doubled", requestId, `it is settled by token ${request.settledToken} and by ${token}`)
    }
    request.settledToken ??= token
  }

  // --- at the end --------------------------------------------------------------------------------------------------

  #judgeRefused(): void {
    for (const request of this.#requests.values()) {
      const item = request.item === undefined ? undefined : this.#items.get(request.item)
      if (item === undefined || request.runs === 0 || !item.allRefused || item.openCalls > 0) continue
      this.#say("from-nowhere", item.item, "it ran and every call for it was refused")
    }
  }

  /** Answers how many of the promised have an end. */
  #judgeLost(): number {
    const isLost = (request: Request) => request.lastClaim === undefined || !isEnd(request.lastClaim)
    const lost = this.#promised.map(isLost)
    const prefixEnd = leadingLost(lost)
    let start = 0
    while (start < lost.length) {
      const segment = this.#promised[start]?.promised?.segment
      let end = start
      while (end < lost.length && this.#promised[end]?.promised?.segment === segment) end++
      const postfixStart = end - leadingLost(lost.slice(start, end).reverse())
      for (let at = start; at < end; at++) {
        const request = this.#promised[at]
        if (lost[at] !== true || request === undefined) continue
        const where =
          postfixStart === start ? "all" : at >= postfixStart ? "postfix" : at < prefixEnd ? "prefix" : "middle"
        const seen =
          request.lastClaim === undefined ? "nobody claimed it" : `at the last claim it is ${request.lastClaim.kind}`
        this.#verdicts.push({ law: "lost", where, about: request.requestId, what: `it was promised, and ${seen}` })
      }
      start = end
    }
    return lost.filter((one) => !one).length
  }

  #request(requestId: string): Request {
    let request = this.#requests.get(requestId)
    if (request === undefined) {
      request = {
        requestId,
        item: undefined,
        isTold: false,
        highestToken: 0,
        highestTokenByPlane: new Map(),
        tokens: new Set(),
        runs: 0,
        told: undefined,
        answer: undefined,
        settledToken: undefined,
        promised: undefined,
        lastClaim: undefined
      }
      this.#requests.set(requestId, request)
    }
    return request
  }

  #say(law: Law, about: string, what: string): void {
    this.#verdicts.push({ law, about, what })
  }
}

const isEnd = ({ kind }: ClaimResult): boolean => kind === "answer" || kind === "ended"

const isOf = (answer: Answer, { requestId, item, tenant, token }: Attempted): boolean =>
  answer.requestId === requestId && answer.item === item && answer.tenant === tenant && answer.token === token

const leadingLost = (lost: ReadonlyArray<boolean>): number => {
  const kept = lost.indexOf(false)
  return kept < 0 ? lost.length : kept
}
