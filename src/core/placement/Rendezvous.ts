/**
 * Which of several names a key belongs to, without a table: each name draws a number from the key and its own letters,
 * and the greatest wins. When a name goes, its keys alone move; when one comes, it takes its share and no key moves
 * between the others.
 *
 * Laws (L16, `property-tests/Placement.laws.test.ts`): minimal movement; shares in proportion to the weights.
 *
 * @module
 */

/** The draw of `name` for `key`: greater wins. `weight`: its share against others, above 0. */
export const draw = (key: string, name: string, weight = 1): number =>
  -weight / Math.log((hash(key, name) + 0.5) / 4_294_967_296)

const hash = (key: string, name: string): number => {
  let sum = mix(2_166_136_261, key)
  // A letter that no name has, so that "ab" + "c" is not "a" + "bc".
  sum = Math.imul(sum ^ 0x10000, 16_777_619)
  sum = mix(sum, name)
  // Neighbouring sums must not give neighbouring draws.
  sum = Math.imul(sum ^ (sum >>> 16), 0x85ebca6b)
  sum = Math.imul(sum ^ (sum >>> 13), 0xc2b2ae35)
  return (sum ^ (sum >>> 16)) >>> 0
}

const mix = (start: number, text: string): number => {
  let sum = start
  for (let index = 0; index < text.length; index++) sum = Math.imul(sum ^ text.charCodeAt(index), 16_777_619)
  return sum
}
