/**
 * A disk in memory that forgets what was not synced when the power goes.
 *
 * Laws: P1 what a sync of a file was asked for and answered is there after a cut, byte for byte, if the file has a name
 * that survived. P2 a name (made, removed or renamed) survives for sure only when its folder was synced after it; of the
 * later changes of a folder a prefix survives. P3 what was not synced survives by sectors, in any mix: a file can be
 * longer than its data, then there are zeros. P4 a change that the power cut met is done in part or not at all, and is
 * not answered.
 *
 * Renames between folders are refused (`EXDEV`), so that a rename is always one change of one folder.
 *
 * @module
 */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Random } from "../../chaos/Random.ts"

/** What a drive writes whole or not at all. */
const sectorBytes = 512

export const rootId = 1

export interface File {
  readonly kind: "file"
  readonly id: number
  mode: number
  links: number
  changedMs: number
  /** `bytes` may be longer than `size`; beyond it there are zeros. */
  bytes: Buffer
  size: number
  synced: Buffer
  syncedSize: number
  readonly dirtySectors: Set<number>
}

interface NameChange {
  readonly name: string
  /** Undefined: the name is gone. */
  readonly id: number | undefined
}

export interface Folder {
  readonly kind: "folder"
  readonly id: number
  mode: number
  changedMs: number
  readonly names: Map<string, number>
  readonly syncedNames: Map<string, number>
  /** Each is done whole or not at all. */
  unsynced: Array<ReadonlyArray<NameChange>>
}

export type Node = File | Folder

/** An error as the operating system numbers it. */
export class DiskError extends Error {
  readonly errno: number
  constructor(errno: number) {
    super(`errno ${errno}`)
    this.errno = errno
  }
}

export const errno = { noEntry: 2, exists: 17, otherDevice: 18, notFolder: 20, isFolder: 21, notEmpty: 39 } as const

/** How much of what was not synced survives. */
export type Survival =
  /** Nothing. */
  | "lost"
  /** Some names, lengths and sectors, by lot. */
  | "torn"
  /** All names and lengths, and none of the data. */
  | "hollow"

export const survivals: ReadonlyArray<Survival> = ["lost", "torn", "hollow"]

/** The power is gone: the operation that was at hand has no answer. */
export class PowerCut extends Error {
  readonly operation: string
  constructor(operation: string) {
    super(`the power was cut at ${operation}`)
    this.operation = operation
  }
}

export interface CutPlan {
  /** The power goes at the so manyth change or sync; undefined: never. */
  readonly cutAt: number | undefined
  readonly survival: Survival
  readonly random: Random
}

export class PowerCutDisk {
  readonly #nodes = new Map<number, Node>()
  readonly #plan: CutPlan
  #nextId = rootId + 1
  #operations = 0

  constructor(plan: CutPlan) {
    this.#plan = plan
    this.#nodes.set(rootId, newFolder(rootId, 0o755))
  }

  /** Changes and syncs so far. */
  get operations(): number {
    return this.#operations
  }

  node(id: number): Node {
    const node = this.#nodes.get(id)
    if (node === undefined) throw new DiskError(errno.noEntry)
    return node
  }

  file(id: number): File {
    const node = this.node(id)
    if (node.kind === "folder") throw new DiskError(errno.isFolder)
    return node
  }

  folder(id: number): Folder {
    const node = this.node(id)
    if (node.kind === "file") throw new DiskError(errno.notFolder)
    return node
  }

  find(parentId: number, name: string): Node {
    const id = this.folder(parentId).names.get(name)
    if (id === undefined) throw new DiskError(errno.noEntry)
    return this.node(id)
  }

  create(parentId: number, name: string, kind: Node["kind"], mode: number): Node {
    const parent = this.folder(parentId)
    if (parent.names.has(name)) throw new DiskError(errno.exists)
    this.#step(`create ${name}`)
    const id = this.#nextId++
    const node = kind === "file" ? newFile(id, mode) : newFolder(id, mode)
    this.#nodes.set(id, node)
    this.#rename(parent, [{ name, id }])
    return node
  }

  link(id: number, parentId: number, name: string): Node {
    const node = this.file(id)
    const parent = this.folder(parentId)
    if (parent.names.has(name)) throw new DiskError(errno.exists)
    this.#step(`link ${name}`)
    node.links++
    this.#rename(parent, [{ name, id }])
    return node
  }

  remove(parentId: number, name: string, kind: Node["kind"]): void {
    const node = this.find(parentId, name)
    if (kind === "folder" && node.kind === "file") throw new DiskError(errno.notFolder)
    if (kind === "file" && node.kind === "folder") throw new DiskError(errno.isFolder)
    if (node.kind === "folder" && node.names.size > 0) throw new DiskError(errno.notEmpty)
    this.#step(`remove ${name}`)
    if (node.kind === "file") node.links--
    this.#rename(this.folder(parentId), [{ name, id: undefined }])
  }

  rename(parentId: number, name: string, newParentId: number, newName: string): void {
    if (parentId !== newParentId) throw new DiskError(errno.otherDevice)
    const node = this.find(parentId, name)
    const replaced = this.folder(parentId).names.get(newName)
    this.#step(`rename ${name} to ${newName}`)
    if (replaced === node.id) return
    const target = replaced === undefined ? undefined : this.node(replaced)
    if (target?.kind === "file") target.links--
    this.#rename(this.folder(parentId), [
      { name, id: undefined },
      { name: newName, id: node.id }
    ])
  }

  read(id: number, offset: number, length: number): Buffer {
    const { bytes, size } = this.file(id)
    return bytes.subarray(Math.min(offset, size), Math.min(offset + length, size))
  }

  write(id: number, offset: number, data: Uint8Array): void {
    const file = this.file(id)
    try {
      this.#step(`write of ${data.length} bytes at ${offset} of ${this.nameOf(id)}`)
    } catch (error) {
      // P4: the drive had begun.
      if (error instanceof PowerCut) put(file, offset, data.subarray(0, this.#plan.random.below(data.length + 1)))
      throw error
    }
    put(file, offset, data)
  }

  resize(id: number, size: number): void {
    const file = this.file(id)
    this.#step(`resize of ${this.nameOf(id)} to ${size}`)
    if (size < file.size) {
      file.bytes.fill(0, size, Math.min(file.size, file.bytes.length))
      touch(file, size, file.size)
    } else grow(file, size)
    file.size = size
    file.changedMs = Date.now()
  }

  sync(id: number): void {
    const node = this.node(id)
    try {
      this.#step(`sync of ${this.nameOf(id)}`)
    } catch (error) {
      if (error instanceof PowerCut && this.#plan.random.chance(0.5)) makeDurable(node)
      throw error
    }
    makeDurable(node)
  }

  /** One of its names, for people. */
  nameOf(id: number): string {
    if (id === rootId) return "the root"
    for (const node of this.#nodes.values()) {
      if (node.kind === "file") continue
      for (const [name, namedId] of node.names) if (namedId === id) return name
    }
    return `node ${id}`
  }

  /** Everything in the folder of a real disk, as if it had always been synced. */
  load(directory: string, into: number = rootId): void {
    const parent = this.folder(into)
    for (const name of readdirSync(directory)) {
      const path = join(directory, name)
      const { mode } = statSync(path)
      const id = this.#nextId++
      const isFolder = statSync(path).isDirectory()
      const node = isFolder ? newFolder(id, mode & 0o777) : newFile(id, mode & 0o777, readFileSync(path))
      this.#nodes.set(id, node)
      parent.names.set(name, id)
      parent.syncedNames.set(name, id)
      if (isFolder) this.load(path, id)
    }
  }

  /** Writes what a start after the cut finds into an empty folder of a real disk. */
  saveSurvivors(directory: string, id: number = rootId): void {
    const names = this.#survivingNames(this.folder(id))
    for (const [name, childId] of names) {
      const node = this.node(childId)
      const path = join(directory, name)
      if (node.kind === "folder") {
        mkdirSync(path, { mode: node.mode })
        this.saveSurvivors(path, childId)
      } else writeFileSync(path, this.#survivingBytes(node), { mode: node.mode })
    }
  }

  #survivingNames(folder: Folder): ReadonlyMap<string, number> {
    const { survival, random } = this.#plan
    const names = new Map(folder.syncedNames)
    const length = folder.unsynced.length
    const survives = survival === "lost" ? 0 : survival === "hollow" ? length : random.below(length + 1)
    for (const changes of folder.unsynced.slice(0, survives)) apply(names, changes)
    return names
  }

  #survivingBytes(file: File): Buffer {
    const { survival, random } = this.#plan
    const isLong = survival === "hollow" || (survival === "torn" && random.chance(0.5))
    const size = isLong ? file.size : file.syncedSize
    const bytes = Buffer.alloc(size)
    file.synced.copy(bytes, 0, 0, Math.min(size, file.syncedSize))
    if (survival !== "torn") return bytes
    const share = random.next()
    for (const sector of file.dirtySectors) {
      const start = sector * sectorBytes
      if (start >= size || !random.chance(share)) continue
      bytes.fill(0, start, Math.min(size, start + sectorBytes))
      file.bytes.copy(bytes, start, start, Math.min(size, file.bytes.length, start + sectorBytes))
    }
    return bytes
  }

  #rename(folder: Folder, changes: ReadonlyArray<NameChange>): void {
    apply(folder.names, changes)
    folder.unsynced.push(changes)
    folder.changedMs = Date.now()
  }

  #step(operation: string): void {
    if (++this.#operations === this.#plan.cutAt) throw new PowerCut(operation)
  }
}

const newFile = (id: number, mode: number, bytes: Buffer = Buffer.alloc(0)): File => ({
  kind: "file",
  id,
  mode,
  links: 1,
  changedMs: Date.now(),
  bytes: Buffer.from(bytes),
  size: bytes.length,
  synced: Buffer.from(bytes),
  syncedSize: bytes.length,
  dirtySectors: new Set()
})

const newFolder = (id: number, mode: number): Folder => ({
  kind: "folder",
  id,
  mode,
  changedMs: Date.now(),
  names: new Map(),
  syncedNames: new Map(),
  unsynced: []
})

const apply = (names: Map<string, number>, changes: ReadonlyArray<NameChange>): void => {
  for (const { name, id } of changes) {
    if (id === undefined) names.delete(name)
    else names.set(name, id)
  }
}

const touch = (file: File, start: number, end: number): void => {
  for (let sector = Math.floor(start / sectorBytes); sector * sectorBytes < end; sector++) file.dirtySectors.add(sector)
}

const grow = (file: File, size: number): void => {
  if (file.bytes.length >= size) return
  const longer = Buffer.alloc(Math.max(size, file.bytes.length * 2, 4096))
  file.bytes.copy(longer)
  file.bytes = longer
}

const put = (file: File, offset: number, data: Uint8Array): void => {
  if (data.length === 0) return
  const end = offset + data.length
  grow(file, end)
  file.bytes.set(data, offset)
  touch(file, Math.min(offset, file.size), end)
  file.size = Math.max(file.size, end)
  file.changedMs = Date.now()
}

const makeDurable = (node: Node): void => {
  if (node.kind === "folder") {
    for (const changes of node.unsynced) apply(node.syncedNames, changes)
    node.unsynced = []
    return
  }
  if (node.synced.length < node.size) {
    const longer = Buffer.alloc(Math.max(node.size, node.synced.length * 2))
    node.synced.copy(longer)
    node.synced = longer
  }
  for (const sector of node.dirtySectors) {
    const start = sector * sectorBytes
    const end = Math.min(node.synced.length, start + sectorBytes)
    if (start >= end) continue
    node.synced.fill(0, start, end)
    node.bytes.copy(node.synced, start, start, Math.min(node.bytes.length, end))
  }
  node.dirtySectors.clear()
  node.syncedSize = node.size
}
