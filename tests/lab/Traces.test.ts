/**
 * Readers on the sample traces, and what each says of a line that it cannot read.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as GpuOpTimes from "../../src/lab/GpuOpTimes.ts"
import * as LlmService from "../../src/lab/LlmService.ts"
import * as Samples from "../../src/lab/Samples.ts"
import * as Trace from "../../src/lab/Trace.ts"
import { TraceError } from "../../src/lab/TraceError.ts"
import * as TraceFile from "../../src/lab/TraceFile.ts"

let directory = ""
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "millrace-lab-"))
})
afterAll(() => rmSync(directory, { recursive: true }))

const written = (name: string, lines: ReadonlyArray<string>): string => {
  const path = join(directory, name)
  writeFileSync(path, `${lines.join("\n")}\n`)
  return path
}

const load = (name: string, lines: ReadonlyArray<string>) => TraceFile.load(written(name, lines), { seed: 1 })

const sample = (file: string, options: Partial<TraceFile.Options> = {}) =>
  TraceFile.load(join(Samples.folder() ?? "", file), { seed: 1, ...options })

describe("the sample traces", () => {
  it("have as many requests as their README says", () => {
    assert.lengthOf(sample("azure-llm-2023/code.csv.gz").atMs, 8_819)
    assert.lengthOf(sample("azure-llm-2023/conv.csv.gz").atMs, 19_366)
    assert.lengthOf(sample("azure-functions-2021/sample-200.csv").atMs, 199)
    assert.lengthOf(sample("mooncake-fast25/conversation_trace.jsonl.gz").atMs, 12_031)
  })

  it("come in order of time, from 0 on, with a function and a time in a worker for each request", () => {
    for (const { file, fromMs } of Samples.samples) {
      const trace = sample(file, { fromMs, toMs: fromMs + 900_000 })
      assert.strictEqual(trace.atMs[0], 0)
      trace.atMs.forEach((atMs, index) => {
        assert.isTrue(index === 0 || atMs >= trace.atMs[index - 1]!)
        assert.isTrue(trace.functionOf[index]! < trace.functions.length && trace.serviceMs[index]! >= 0)
      })
    }
  })

  it("Mooncake: the groups of 3 s are spread, so that no second has a group for itself", () => {
    const trace = sample("mooncake-fast25/conversation_trace.jsonl.gz")
    const distinct = new Set(trace.atMs)
    assert.isAbove(distinct.size, 12_000)
    assert.match(trace.notes.join(), /grid of 3000 ms/)
  })

  it("ServeGen: as many requests as the recorded rates say, client by client", () => {
    const trace = sample("servegen/multimodal-mm-image.csv.gz", { toMs: 6 * 3_600_000 })
    assert.closeTo(trace.atMs.length, 183_128, 20)
    assert.isAbove(trace.functions.length, 20)
  })

  it("the same seed reads the same trace, another one another", () => {
    const read = (seed: number) =>
      TraceFile.load(join(Samples.folder() ?? "", "mooncake-fast25/conversation_trace.jsonl.gz"), { seed }).atMs
    assert.deepStrictEqual(read(1), read(1))
    assert.notDeepEqual(read(1), read(2))
  })
})

describe("a plain CSV", () => {
  it("is read in any order, packed or not", () => {
    const lines = ["arrival_ms, function, duration_ms", "2500,b,10", "", "1000, a, 20.5", "2000,a,0"]
    const trace = load("plain.csv", lines)
    assert.deepStrictEqual([...trace.atMs], [0, 1_000, 1_500])
    assert.deepStrictEqual(
      [...trace.functionOf].map((index) => trace.functions[index]),
      ["a", "a", "b"]
    )
    assert.deepStrictEqual([...trace.serviceMs], [20.5, 0, 10])
    const packed = join(directory, "packed.csv.gz")
    writeFileSync(packed, gzipSync(lines.join("\r\n")))
    assert.deepStrictEqual(TraceFile.load(packed, { seed: 1 }).atMs, trace.atMs)
    assert.strictEqual(Trace.spanMs(trace), 1_510)
    assert.deepStrictEqual(Trace.peaks(trace), [1, 1])
  })
})

describe("what cannot be read names file, line and what was expected", () => {
  const refuses = (name: string, lines: ReadonlyArray<string>, line: number, expected: RegExp) =>
    it(`${name}: ${lines[Math.max(0, line - 1)]}`, () => {
      try {
        load(name, lines)
        assert.fail("it was read")
      } catch (error) {
        assert.instanceOf(error, TraceError)
        const { message } = error as TraceError
        assert.include(message, name)
        if (line > 0) assert.include(message, `line ${line}:`)
        assert.match(message, expected)
      }
    })

  const plain = "arrival_ms,function,duration_ms"
  refuses("plain-a.csv", [plain, "1,a,2", "x,a,2"], 3, /arrival_ms to be a number from 0 on, found "x"/)
  refuses("plain-b.csv", [plain, "1,a"], 2, /3 fields \(arrival_ms, function, duration_ms\), found "1,a"/)
  refuses("plain-c.csv", [plain, "1,a,-5"], 2, /duration_ms to be a number from 0 on, found "-5"/)
  refuses("plain-d.csv", [plain, "1,,5"], 2, /name of a function/)
  refuses("plain-e.csv", [plain, "1,a,Infinity"], 2, /duration_ms/)
  refuses("plain-f.csv", [plain], 0, /at least one request/)
  const azure = "TIMESTAMP,ContextTokens,GeneratedTokens"
  refuses("azure-a.csv", [azure, "yesterday,1,2"], 2, /TIMESTAMP like/)
  refuses("azure-b.csv", [azure, "2023-11-16 18:17:03.9,1,"], 2, /GeneratedTokens to be a number.*found nothing/)
  refuses("functions.csv", ["app,func,end_timestamp,duration", "a,b,1,ten"], 2, /duration to be a number/)
  const counts = ["timestamp,value", "2014-04-10 00:04:00,3"]
  refuses("counts-a.csv", [...counts, "2014-04-10 00:04:00,3"], 3, /after the one before/)
  refuses("counts-b.csv", [...counts, "2014-04-10,3"], 3, /timestamp like/)
  const mooncake = '{"timestamp": 0, "input_length": 5, "output_length": 3}'
  refuses("mooncake-a.jsonl", [mooncake, "{"], 2, /JSON object/)
  refuses("mooncake-b.jsonl", [mooncake, '{"timestamp": 1, "input_length": "5"}'], 2, /input_length from 0 on/)
  const serveGen = "client,t_s,rate_per_s,cv,dist,p1,p2"
  refuses("servegen-a.csv", [serveGen, "0,0,1,1,X,1,1"], 2, /dist to be G/)
  refuses("servegen-b.csv", [serveGen, "0,0,1,1,G,0,1"], 2, /p1 \(shape\)/)
  refuses("unknown.csv", ["a,b,c"], 1, /first line of a known trace/)
  refuses("ops.csv", ["gpu,model,tp,num_tokens,emb_ms,x_ms"], 1, /--service-model/)
  refuses("bell.csv", ["\u001b[31mred\u0007"], 1, /found "·\[31mred·"/)

  it("a file that is not there, and one that is not what its first bytes say", () => {
    assert.throws(() => TraceFile.load(join(directory, "nothing.csv"), { seed: 1 }), /expected a file/)
    const half = join(directory, "half.csv.gz")
    writeFileSync(half, gzipSync("arrival_ms,function,duration_ms\n1,a,2\n").subarray(0, 20))
    assert.throws(() => TraceFile.load(half, { seed: 1 }), /expected a gzip file/)
  })
})

describe("times in a worker from tokens", () => {
  it("grow with the prompt and with the answer", () => {
    const ms = (input: number, output: number) => LlmService.requestMs(LlmService.llama3OnA100, input, output)
    assert.isBelow(ms(100, 10), ms(10_000, 10))
    assert.isBelow(ms(100, 10), ms(100, 100))
    // About 10 ms a token on this model.
    assert.closeTo(ms(100, 1_001) - ms(100, 1), 10_000, 1_500)
  })

  it("are read from measured operators, and an all-reduce makes them longer", () => {
    const path = written("linear-ops-per-layer.csv", [
      "gpu,model,tp,num_tokens,emb_ms,one_ms,two_ms",
      "a100,Llama-2-7b-hf,1,1,9,0.1,0.2",
      "a100,Llama-2-7b-hf,1,1024,9,1,",
      "a100,Llama-2-7b-hf,2,1,9,5,5"
    ])
    const choice = { gpu: "a100", model: "Llama-2-7b-hf", tensorParallel: 1, batch: 8 }
    const model = GpuOpTimes.read(path, TraceFile.linesOf(path), choice)
    assert.deepStrictEqual(
      model.layerMs.map(([tokens, ms]) => [tokens, Number(ms.toFixed(6))]),
      [
        [1, 0.3],
        [1_024, 1]
      ]
    )
    const reduce = written("all-reduce.csv", [
      "network,num_workers,size_bytes,all_reduce_ms",
      "dgx,2,1000,0.5",
      "dgx,2,100000000,5"
    ])
    const points = GpuOpTimes.readAllReduce(reduce, TraceFile.linesOf(reduce), { network: "dgx", workers: 2 })
    const split = GpuOpTimes.withAllReduce(model, points, 8_192)
    assert.isAbove(split.layerMs[0]![1], model.layerMs[0]![1] + 2 * 0.49)
    assert.throws(() => GpuOpTimes.read(path, TraceFile.linesOf(path), { ...choice, gpu: "h900" }), /h900/)
  })
})
