/** The parts of the simulator that are arithmetic: sources, distributions, queue, sketch, hash and picture. */
import { assert, describe, it } from "vitest"
import * as Arrivals from "./Arrivals.ts"
import * as Distribution from "./Distribution.ts"
import { EventQueue } from "./EventQueue.ts"
import { LogHash } from "./LogHash.ts"
import { Measurements } from "./Measurements.ts"
import { QuantileSketch } from "./QuantileSketch.ts"
import * as Random from "./Random.ts"
import * as StartModel from "./StartModel.ts"
import { columnCount, Timeline } from "./Timeline.ts"

const all = (source: Arrivals.Source): ReadonlyArray<Arrivals.Arrival> => {
  const found: Array<Arrivals.Arrival> = []
  for (let each = source(); each !== undefined; each = source()) found.push({ ...each })
  return found
}
const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / values.length
const sortedDraws = (distribution: Distribution.Distribution, count = 20_000) => {
  const random = Random.make(5)
  return Array.from({ length: count }, () => Distribution.draw(random, distribution)).sort((one, other) => one - other)
}

describe("arrivals", () => {
  const plain: Arrivals.Pattern = {
    perSecond: 20,
    untilMs: 100_000,
    weights: [1, 2, 1],
    service: Distribution.constant(7)
  }

  it("from arrays come as they are, and end", () => {
    const source = Arrivals.fromArrays({ atMs: [1, 5], functions: [0, 2], serviceMs: [9, 8] })
    assert.deepStrictEqual(all(source), [
      { atMs: 1, function: 0, serviceMs: 9 },
      { atMs: 5, function: 2, serviceMs: 8 }
    ])
    assert.isUndefined(source())
  })

  it("by chance come at their rate, rising, to the functions by their weights, until their time is over", () => {
    const found = all(Arrivals.poisson(Random.make(1), plain))
    assert.closeTo(found.length, 2_000, 150)
    assert.isTrue(found.every(({ atMs }, index) => atMs < 100_000 && atMs > (found[index - 1]?.atMs ?? 0)))
    assert.isTrue(found.every(({ serviceMs }) => serviceMs === 7))
    for (const [index, share] of [0.25, 0.5, 0.25].entries()) {
      assert.closeTo(found.filter((each) => each.function === index).length / found.length, share, 0.04)
    }
    const uneven = all(Arrivals.poisson(Random.make(1), { ...plain, weights: [1, 5, 6] }))
    for (const [index, share] of [1 / 12, 5 / 12, 1 / 2].entries()) {
      assert.closeTo(uneven.filter((each) => each.function === index).length / uneven.length, share, 0.04)
    }
    const other = all(Arrivals.poisson(Random.make(2), plain))
    assert.notDeepEqual(other.slice(0, 3), found.slice(0, 3))
    assert.deepEqual(all(Arrivals.poisson(Random.make(1), plain)), found)
  })

  it("in a wave are many in the first half of its period and few in the second", () => {
    const wave = { periodMs: 100_000, depth: 0.9 }
    const found = all(Arrivals.poisson(Random.make(1), { ...plain, wave }))
    const first = found.filter(({ atMs }) => atMs < 50_000).length
    assert.closeTo(first / found.length, 0.5 + 0.9 / Math.PI, 0.04)
    assert.closeTo(found.length, 2_000, 150)
  })

  it("in bursts come at a multiple of their rate, and at the plain rate between", () => {
    const bursts = { everyMs: 3_000, lengthMs: 1_000, factor: 10 }
    const found = all(Arrivals.poisson(Random.make(1), { ...plain, bursts }))
    // A quarter of the time at ten times the rate.
    assert.closeTo(found.length / 2_000, 0.75 + 0.25 * 10, 0.9)
    const perSecond = new Array<number>(100).fill(0)
    for (const { atMs } of found) perSecond[Math.floor(atMs / 1_000)]! += 1
    assert.isAbove(Math.max(...perSecond), 150)
    assert.isBelow([...perSecond].sort((one, other) => one - other)[20]!, 40)
  })

  it("of several sources come in the order of their times, of equal times in the order of the sources", () => {
    const source = (atMs: ReadonlyArray<number>, of: number) =>
      Arrivals.fromArrays({ atMs, functions: atMs.map(() => of), serviceMs: atMs.map(() => of * 10) })
    const merged = Arrivals.merge([source([1, 4, 4], 0), source([], 1), source([0, 4, 9], 2)])
    assert.deepStrictEqual(
      all(merged).map((each) => [each.atMs, each.function, each.serviceMs]),
      [
        [0, 2, 20],
        [1, 0, 0],
        [4, 0, 0],
        [4, 0, 0],
        [4, 2, 20],
        [9, 2, 20]
      ]
    )
    assert.isUndefined(merged())
    assert.isUndefined(Arrivals.merge([])())
    assert.deepStrictEqual(Arrivals.zipf(3, 1), [1, 1 / 2, 1 / 3])
  })
})

describe("a distribution", () => {
  const points = [
    [0.5, 100],
    [0.9, 400]
  ] as const
  const kinds: ReadonlyArray<Distribution.Distribution> = [
    Distribution.constant(40),
    { kind: "exponential", meanMs: 40 },
    { kind: "log-normal", medianMs: 40, sigma: 0.7 },
    { kind: "gamma", shape: 3, scaleMs: 20 },
    { kind: "gamma", shape: 0.6, scaleMs: 20 },
    { kind: "weibull", shape: 2, scaleMs: 40 },
    { kind: "quantiles", points }
  ]

  it("gives the same draws on every machine, and has its median", () => {
    const random = Random.make(5)
    const said = kinds.map((each) =>
      [...Array.from({ length: 3 }, () => Distribution.draw(random, each)), Distribution.median(each)].map((ms) =>
        ms.toFixed(4)
      )
    )
    assert.deepStrictEqual(said, [
      ["40.0000", "40.0000", "40.0000", "40.0000"],
      ["98.6720", "51.7868", "212.0925", "27.7259"],
      ["26.4181", "27.4566", "28.4099", "40.0000"],
      ["51.4059", "30.7949", "37.3192", "53.5772"],
      ["13.0564", "0.1169", "2.7283", "6.4917"],
      ["54.7760", "67.4597", "14.6922", "33.3022"],
      ["48.9276", "146.8377", "52.3407", "100.0000"]
    ])
  })

  it("has half of its draws below its median", () => {
    for (const each of kinds) {
      const draws = sortedDraws(each)
      const median = Distribution.median(each)
      assert.closeTo(
        median / draws[draws.length / 2]!,
        1,
        each.kind === "gamma" && each.shape < 1 ? 0.1 : 0.03,
        each.kind
      )
    }
  })

  it("has the mean that its figures say", () => {
    const means = [40, 40, 40 * Math.exp(0.7 ** 2 / 2), 60, 12, 20 * Math.sqrt(Math.PI)]
    for (const [index, expected] of means.entries()) {
      assert.closeTo(mean(sortedDraws(kinds[index]!)) / expected, 1, 0.04, kinds[index]!.kind)
    }
  })

  it("known at a few shares is that there, goes on beyond them to 0.001 and 0.999, and of nothing is 0", () => {
    const at = (share: number) => Distribution.quantile(points, share)
    assert.closeTo(at(0.5), 100, 1e-9)
    assert.closeTo(at(0.9), 400, 1e-9)
    assert.closeTo(at(0.7), 200, 1e-9)
    assert.closeTo(at(0.3), 50, 1e-9)
    assert.strictEqual(at(0), at(0.001))
    assert.strictEqual(at(1), at(0.999))
    assert.isAbove(at(0.999), 400)
    const three = [...points, [0.99, 4_000]] as const
    assert.closeTo(Distribution.quantile(three, 0.945), Math.sqrt(400 * 4_000), 1e-6)
    assert.closeTo(Distribution.quantile(three, 0.7), 200, 1e-9)
    assert.strictEqual(Distribution.quantile([], 0.5), 0)
    assert.strictEqual(Distribution.quantile([[0.5, 70]], 0.9), 70)
    assert.closeTo(
      Distribution.quantile(
        [
          [0.1, 0],
          [0.9, 1]
        ],
        0.1
      ),
      0,
      1e-6
    )
  })

  it("of gamma draws by its shape: at 1 without a correction, and never from a cube below zero", () => {
    const sum = (shape: number) => {
      const random = Random.make(5)
      return Array.from({ length: 2_000 }, () => Random.gamma(random, shape, 1)).reduce((all, each) => all + each, 0)
    }
    assert.deepStrictEqual([sum(1).toFixed(6), sum(0.1).toFixed(6)], ["2009.006409", "215.860110"])
  })

  it("of no kind that is known stops the run, and is named", () => {
    // As `never`: what a file may hold, which the types rule out.
    const strange = { kind: "strange" } as never
    assert.throws(() => Distribution.draw(Random.make(1), strange), 'unreachable case {"kind":"strange"}')
    assert.throws(() => Distribution.median(strange), 'unreachable case {"kind":"strange"}')
  })
})

describe("a start model", () => {
  it("has a name, its phases in order, and where its figures are from", () => {
    assert.deepStrictEqual(
      StartModel.models.map(({ name, phases }) => [name, phases.map((phase) => phase.name)]),
      [
        ["process", ["process"]],
        ["lora", ["process", "weights"]],
        ["base-model", ["process", "weights"]],
        ["container", ["image", "process"]]
      ]
    )
    for (const model of StartModel.models) {
      assert.strictEqual(StartModel.byName(model.name), model)
      assert.match(model.source, /process: 0\.1 s/)
      assert.strictEqual(model.failureShare, 0)
    }
    assert.isUndefined(StartModel.byName("none"))
    assert.deepStrictEqual(
      StartModel.models.map((model) => Math.round(StartModel.typicalMs(model))),
      [100, 4_500, 22_800, 19_100]
    )
    assert.deepStrictEqual(
      StartModel.models.map(({ stopMs }) => stopMs),
      [50, 500, 500, 500]
    )
    const shares = StartModel.models.flatMap(({ phases }) =>
      phases.flatMap(({ duration }) => (duration.kind === "quantiles" ? [duration.points] : []))
    )
    assert.isAbove(shares.length, 1)
    for (const points of shares) {
      assert.deepStrictEqual(
        points.map(([share]) => share),
        [0.5, 0.9, 0.99]
      )
      for (const [share, ms] of points) assert.closeTo(Distribution.quantile(points, share), ms, 1e-6)
    }
    const fixed = StartModel.fixed(30)
    assert.deepStrictEqual(fixed, {
      name: "30 ms",
      phases: [{ name: "process", duration: { kind: "constant", ms: 30 } }],
      stopMs: 0,
      failureShare: 0,
      source: "given by the caller"
    })
    const negative = { ...fixed, phases: [{ name: "process", duration: Distribution.constant(-4) }] } as const
    assert.deepStrictEqual(StartModel.drawPhases(Random.make(1), negative), [0])
    assert.deepStrictEqual(StartModel.drawPhases(Random.make(1), fixed), [30])
  })
})

describe("the queue of events", () => {
  it("gives thousands back in the order of their times, of equal times in the order in which they came", () => {
    const queue = new EventQueue()
    assert.strictEqual(queue.nextMs, Number.POSITIVE_INFINITY)
    assert.isFalse(queue.take())
    const random = Random.make(3)
    const put = Array.from({ length: 5_000 }, (_, index) => ({
      atMs: Random.index(random, 400),
      kind: index % 7,
      index
    }))
    for (const { atMs, kind, index } of put) queue.put(atMs, kind, index, -index)
    assert.strictEqual(queue.size, 5_000)
    const sorted = [...put].sort((one, other) => one.atMs - other.atMs || one.index - other.index)
    for (const { atMs, kind, index } of sorted) {
      assert.strictEqual(queue.nextMs, atMs)
      assert.isTrue(queue.take())
      assert.deepStrictEqual([queue.atMs, queue.kind, queue.first, queue.second], [atMs, kind, index, -index])
    }
    assert.deepStrictEqual([queue.size, queue.take()], [0, false])
    queue.put(8, 1)
    queue.take()
    assert.deepStrictEqual([queue.first, queue.second], [0, 0])
  })
})

describe("the hash of a log", () => {
  const hex = (fill: (hash: LogHash) => void) => {
    const hash = new LogHash()
    fill(hash)
    return hash.hex
  }

  it("is the same on every machine and for ever, and another for each fact, their order and their number", () => {
    const hashes = [
      hex(() => {}),
      hex((hash) => hash.add(1, 2, 3, 4)),
      hex((hash) => hash.add(1, 2, 4, 3)),
      hex((hash) => hash.add(1, 2.5, 3, 4)),
      hex((hash) => hash.add(1, 2.25, 3, 4)),
      hex((hash) => hash.add(1, 2 ** 40, 3, 4)),
      hex((hash) => hash.text("ab")),
      hex((hash) => hash.text("ba")),
      hex((hash) => {
        hash.text("a")
        hash.text("b")
      }),
      hex((hash) => {
        hash.add(1, 2, 3, 4)
        hash.add(0, 0, 0, 0)
      })
    ]
    assert.strictEqual(new Set(hashes).size, hashes.length)
    assert.isTrue(hashes.every((each) => /^[0-9a-f]{16}$/.test(each)))
    assert.deepStrictEqual(hashes.slice(0, 7), [
      "2bfa35299ca70078",
      "17dfc996bcb65be6",
      "5e44323b3130e50e",
      "43a40eae1924b6e9",
      "2e269a94ce037525",
      "e7733ed093a8e67b",
      "21f6c483680e42ef"
    ])
    const many = Array.from({ length: 300 }, (_, index) => hex((hash) => hash.add(index, 0, 0, 0)))
    assert.isTrue(many.every((each) => each.length === 16) && many.some((each) => each.startsWith("0")))
    const counted = new LogHash()
    counted.add(1, 2, 3, 4)
    counted.text("a")
    assert.strictEqual(counted.count, 1)
  })
})

describe("a sketch of quantiles", () => {
  it("is within 1 % of the nearest rank, knows its mean and its greatest, and adds up", () => {
    const random = Random.make(9)
    const values = Array.from({ length: 3_000 }, () => Random.logNormal(random, 50, 2))
    const [one, other] = [new QuantileSketch(), new QuantileSketch()]
    for (const [index, value] of values.entries()) (index % 3 === 0 ? one : other).add(value)
    one.merge(other)
    const sorted = [...values].sort((left, right) => left - right)
    for (const part of [0, 0.01, 0.5, 0.9, 0.99, 0.999]) {
      const exact = sorted[Math.max(1, Math.ceil(part * 3_000)) - 1]!
      assert.closeTo(one.quantile(part) / exact, 1, 0.011, `${part}`)
    }
    assert.closeTo(one.quantile(1) / sorted.at(-1)!, 1, 0.011)
    assert.deepStrictEqual([one.count, one.max], [3_000, sorted.at(-1)])
    assert.closeTo(one.mean, mean(values), 1e-6)
    for (const value of [1, 20, 300]) {
      const exact = values.filter((each) => each <= value).length / 3_000
      assert.closeTo(one.shareUpTo(value), exact, 0.01)
    }
    assert.strictEqual(one.shareUpTo(one.max), 1)
  })

  it("of nothing is 0, and all of nothing is within any bound; nothings and what is beyond all buckets count", () => {
    const none = new QuantileSketch()
    assert.deepStrictEqual([none.quantile(0.5), none.mean, none.shareUpTo(3)], [0, 0, 1])
    const few = new QuantileSketch()
    for (const value of [0, 0, 0, 1e12]) few.add(value)
    assert.deepStrictEqual([few.quantile(0.75), few.shareUpTo(5), few.max], [0, 0.75, 1e12])
    assert.isAbove(few.quantile(1), 9e8)
    assert.strictEqual(few.shareUpTo(1e11), 1, "what is beyond all buckets counts as the last")
    const small = new QuantileSketch()
    for (const value of [0.01, 0.0099]) small.add(value)
    assert.deepStrictEqual([small.quantile(0.5), small.quantile(1)], [0, 0.01], "from 0.01 on a value is none of 0")
    assert.strictEqual(small.shareUpTo(0.01), 1, "though the middle of its bucket is above the greatest")
    small.add(5)
    assert.closeTo(small.shareUpTo(0.01 * 1.02 ** 0.5), 2 / 3, 1e-9, "a bucket counts from its middle on")
  })
})

describe("what is measured", () => {
  it("a direction changes when up follows down or down up, and not at the first", () => {
    const measured = new Measurements(2, 0)
    assert.isUndefined(measured.timeline)
    for (const [from, to] of [
      [0, 2],
      [2, 3],
      [3, 1],
      [1, 0],
      [0, 1]
    ] as const) {
      measured.decided(1, from, to)
    }
    assert.deepInclude(measured.functions[1], { decisions: 5, directionChanges: 2, lastDirection: 1 })
    assert.deepInclude(measured.functions[0], { decisions: 0, directionChanges: 0 })
    measured.waited(10, 10)
    measured.waited(11, 10)
    assert.deepStrictEqual([measured.withinSlo, measured.waits.count], [1, 2])
    assert.isDefined(new Measurements(1, 600).timeline)
  })
})

describe("the picture", () => {
  it("has the arrivals and the mean of each level in each of 600 columns, and nothing beyond its length", () => {
    const timeline = new Timeline(6_000)
    timeline.arrived(0)
    timeline.arrived(9)
    timeline.arrived(10)
    timeline.arrived(6_000)
    timeline.change("ready", 2, 5)
    timeline.change("ready", 0, 12)
    timeline.change("ready", -1, 25)
    timeline.change("backlog", 3, 5_995)
    const { columnMs, arrivals, means } = timeline.picture(7_000)
    assert.deepStrictEqual([columnMs, arrivals.length, columnCount], [10, 600, 600])
    assert.deepStrictEqual([arrivals[0], arrivals[1], arrivals.reduce((sum, count) => sum + count, 0)], [2, 1, 3])
    for (const [column, expected] of [1, 2, 1.5, 1, 1].entries()) assert.closeTo(means.ready[column]!, expected, 1e-9)
    assert.closeTo(means.ready[599]!, 1, 1e-9)
    assert.closeTo(means.backlog[599]!, 1.5, 1e-9)
    assert.closeTo(means.backlog[598]!, 0, 1e-9)
    assert.isTrue(means.desired.every((each) => each === 0) && means.starting.every((each) => each === 0))
    assert.strictEqual(new Timeline(30).picture(30).columnMs, 1)
  })
})

describe("random numbers", () => {
  it("are the same on every machine and for ever, and others for another seed or label", () => {
    const first = (random: Random.Random) => [
      Random.uniform(random),
      Random.index(random, 1_000),
      Random.normal(random)
    ]
    assert.deepStrictEqual(first(Random.make(1)), [0.5243542302959971, 877, -0.5661815513385193])
    const seeds = [Random.make(1), Random.make(2), Random.make(1 + 2 ** 32), Random.split(Random.make(1), "a")]
    const labels = ["b", "ab", "ba", 1, 2].map((label) => Random.split(Random.make(1), label))
    assert.strictEqual(new Set([...seeds, ...labels].map((random) => Random.uniform(random))).size, 9)
    const parent = Random.make(1)
    Random.split(parent, "a")
    assert.deepStrictEqual(first(parent), [0.5243542302959971, 877, -0.5661815513385193], "the parent is not touched")
  })
})
