import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it, onTestFinished } from "vitest"
import * as ControlGroup from "./ControlGroup.ts"
import * as ControlGroups from "./ControlGroups.ts"

/** Plain directories: what is written there can be read, and nothing is enforced. */
const fakeTree = (files: Readonly<Record<string, string>>) => {
  const root = mkdtempSync(join(tmpdir(), "millrace-groups-"))
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

const mount = (root: string, type: string, options: string) =>
  `30 20 0:26 / ${root.replaceAll(" ", "\\040")} rw,relatime shared:4 - ${type} none rw,${options}`

const systemOf = (mountInfo: ReadonlyArray<string>, ownGroups: string, refusal?: string): ControlGroups.System => ({
  mountInfo: () => mountInfo.join("\n"),
  ownGroups: () => ownGroups,
  mayEnter: () => refusal
})

const read = (path: string) => readFileSync(path, "utf8")

describe.skipIf(process.platform !== "linux")("places of control groups", () => {
  const delegated = {
    "s/cgroup.controllers": "cpu memory pids\n",
    "s/cgroup.subtree_control": "cpu memory pids\n",
    "s/own/cgroup.controllers": "cpu memory pids\n"
  }

  it("version 2: a group that holds processes is not divided; the groups stand beside it", () => {
    const root = fakeTree(delegated)
    // What the kernel refuses here with EBUSY.
    mkdirSync(join(root, "s/own/cgroup.subtree_control"))
    const { places, missing } = ControlGroups.claim("m-1", systemOf([mount(root, "cgroup2", "x")], "0::/s/own\n"))
    expect(missing).toEqual({})
    expect(places?.version).toBe(2)
    expect(places?.of.cpu?.home).toBe(join(root, "s/own"))
    expect(places?.of.memory?.directory).toMatch(new RegExp(`^${root}/s/millrace-\\d+-${process.pid}-\\d+-m1$`))
    expect(places === undefined ? [] : ControlGroups.directoriesOf(places)).toHaveLength(1)
  })

  it("version 2: the figures of a spec stand in the files of the kernel, and swap is none", () => {
    const root = fakeTree({ ...delegated, "s/own/cgroup.subtree_control": "cpu memory pids\n" })
    const { places } = ControlGroups.claim("m", systemOf([mount(root, "cgroup2", "x")], "0::/s/own\n"))
    if (places?.of.memory === undefined) throw new Error("there are no places")
    const group = ControlGroup.make(places, "i1")
    group.limit({ memoryBytes: 1_048_576, cpuMillis: 1_500 })
    const file = (name: string) => read(join(places.of.memory?.directory ?? "", "i1", name))
    expect(["memory.max", "memory.swap.max", "cpu.max", "pids.max"].map(file)).toEqual([
      "1048576",
      "0",
      "15000 10000",
      "512"
    ])
    expect(group.hadNoMemory()).toBe(false)
    writeFileSync(join(places.of.memory.directory, "i1/memory.events"), "low 0\noom 2\noom_kill 1\noom_group_kill 0\n")
    expect(group.hadNoMemory()).toBe(true)
    expect(read(join(root, "s/own/cgroup.subtree_control"))).toBe("cpu memory pids\n")
  })

  it("version 1: each controller has its own directory, below the group of this process; spaces are unescaped", () => {
    const root = fakeTree({ "a b/memory/x/own/tasks": "", "a b/cpu/tasks": "" })
    const { places, missing } = ControlGroups.claim(
      "m",
      systemOf(
        [mount(join(root, "a b/memory"), "cgroup", "memory"), mount(join(root, "a b/cpu"), "cgroup", "cpu,cpuacct")],
        "4:memory:/x/own\n1:cpu,cpuacct:/\n0::/\n"
      )
    )
    expect(places?.version).toBe(1)
    expect(places?.of.memory?.home).toBe(join(root, "a b/memory/x/own"))
    expect(places?.of.cpu?.home).toBe(join(root, "a b/cpu"))
    expect(missing).toEqual({ pids: "this system has no such controller" })
  })

  it("what may not be entered is not claimed, and the reason is kept", () => {
    const root = fakeTree({ "memory/tasks": "" })
    const system = systemOf([mount(join(root, "memory"), "cgroup", "memory")], "4:memory:/\n", "Permission denied")
    expect(ControlGroups.claim("m", system)).toEqual({
      places: undefined,
      missing: {
        memory: "Permission denied",
        cpu: "this system has no such controller",
        pids: "this system has no such controller"
      }
    })
  })

  it("a system without cgroups limits nothing and says so", () => {
    const { places, missing } = ControlGroups.claim("m", systemOf([], ""))
    expect(places).toBeUndefined()
    expect(Object.keys(missing)).toEqual(["memory", "cpu", "pids"])
  })

  it("only what a process left that is gone, of this pid namespace, counts as abandoned", () => {
    const root = fakeTree({ "memory/tasks": "" })
    const system = systemOf([mount(join(root, "memory"), "cgroup", "memory")], "4:memory:/\n")
    const { places } = ControlGroups.claim("m", system)
    if (places?.of.memory === undefined) throw new Error("there are no places")
    const [, namespace] = /millrace-(\d+)-/.exec(places.of.memory.directory) ?? []
    const directory = (name: string) => join(root, "memory", name)
    for (const name of ["other", `millrace-${namespace}-${process.pid}-1-old`, `millrace-1-${process.pid}-1-old`]) {
      mkdirSync(directory(name))
    }
    mkdirSync(join(places.of.memory.directory, "i7"))
    expect(ControlGroups.abandoned(places)).toEqual([
      join(places.of.memory.directory, "i7"),
      directory(`millrace-${namespace}-${process.pid}-1-old`)
    ])
    expect(existsSync(places.of.memory.directory)).toBe(true)
  })
})
