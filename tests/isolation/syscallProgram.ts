/**
 * A program of one system call, as an ELF file for x86-64 Linux without any library: JavaScript cannot call the kernel, and
 * an image should not need a compiler to be tested. Its exit code is the error number, 0 when the kernel did it.
 *
 * @module
 */

/** Where a text argument is put: the program passes its address. */
export type Argument = number | string

const base = 0x400000
const headersBytes = 64 + 56

/** `mov reg, imm64` for the six arguments in the kernel's order: rdi, rsi, rdx, r10, r8, r9. */
const loads: ReadonlyArray<readonly [number, number]> = [
  [0x48, 0xbf],
  [0x48, 0xbe],
  [0x48, 0xba],
  [0x49, 0xba],
  [0x49, 0xb8],
  [0x49, 0xb9]
]

const load = ([prefix, opcode]: readonly [number, number], value: number): Buffer => {
  const code = Buffer.alloc(10)
  code[0] = prefix
  code[1] = opcode
  code.writeBigInt64LE(BigInt(value), 2)
  return code
}

/** neg eax; mov edi, eax; shl edi, 0 if it was an error and 0 otherwise; exit. */
const leave = Buffer.from([
  ...[0x31, 0xff], // xor edi, edi
  ...[0x48, 0x85, 0xc0], // test rax, rax
  ...[0x79, 0x05], // jns +5: it was done
  ...[0x48, 0xf7, 0xd8], // neg rax
  ...[0x89, 0xc7], // mov edi, eax
  ...[0xb8, 0x3c, 0, 0, 0], // mov eax, 60 (exit)
  ...[0x0f, 0x05] // syscall
])

export const program = (call: number, args: ReadonlyArray<Argument>): Buffer => {
  const codeBytes = 10 * (args.length + 1) + 2 + leave.length
  const texts: Array<Buffer> = []
  let textAt = base + headersBytes + codeBytes
  const values = args.map((argument) => {
    if (typeof argument === "number") return argument
    const at = textAt
    const text = Buffer.from(`${argument}\0`)
    texts.push(text)
    textAt += text.length
    return at
  })
  const code = Buffer.concat([
    ...values.map((value, index) => load(loads[index] ?? [0, 0], value)),
    load([0x48, 0xb8], call),
    Buffer.from([0x0f, 0x05]),
    leave,
    ...texts
  ])
  const header = Buffer.alloc(headersBytes)
  // ELF64, little endian, executable, x86-64, one segment that is all of the file.
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0], 0)
  header.writeUInt16LE(2, 16)
  header.writeUInt16LE(62, 18)
  header.writeUInt32LE(1, 20)
  header.writeBigUInt64LE(BigInt(base + headersBytes), 24)
  header.writeBigUInt64LE(64n, 32)
  header.writeUInt16LE(64, 52)
  header.writeUInt16LE(56, 54)
  header.writeUInt16LE(1, 56)
  header.writeUInt32LE(1, 64)
  header.writeUInt32LE(5, 68)
  header.writeBigUInt64LE(BigInt(base), 80)
  header.writeBigUInt64LE(BigInt(base), 88)
  const size = BigInt(headersBytes + code.length)
  header.writeBigUInt64LE(size, 96)
  header.writeBigUInt64LE(size, 104)
  header.writeBigUInt64LE(0x1000n, 112)
  return Buffer.concat([header, code])
}
