/**
 * Any picture in, a WebP of a given width out.
 *
 * @module
 */
import sharp from "sharp"

export interface Thumbnail {
  readonly bytes: Uint8Array
  readonly width: number
  readonly height: number
}

/** Why there is no thumbnail: the caller's picture, never ours to retry. */
export class Refused extends Error {
  override readonly name = "Refused"
  readonly status: 413 | 415
  constructor(status: 413 | 415, message: string) {
    super(message)
    this.status = status
  }
}

export const widthMin = 16
export const widthMax = 4_096
export const bodyBytesMax = 20 * 1024 * 1024
/** A small file can unpack to a picture of any size, and it is the unpacked one that fills the memory. */
export const pixelsMax = 64_000_000

/** Keeps the proportions, follows the camera's orientation mark, and never enlarges. Fails with `Refused`. */
export const make = async (picture: Uint8Array, width: number): Promise<Thumbnail> => {
  const { format, pixels } = await inspect(picture)
  if (pixels > pixelsMax) throw new Refused(413, `the picture has ${pixels} pixels, at most ${pixelsMax} may be`)
  try {
    const { data, info } = await sharp(picture, { limitInputPixels: pixelsMax })
      .autoOrient()
      .resize({ width, withoutEnlargement: true })
      .webp({ quality: 80 })
      .toBuffer({ resolveWithObject: true })
    return { bytes: data, width: info.width, height: info.height }
  } catch (error) {
    // The head was readable, so what fails now is the data after it: cut off or damaged.
    throw new Refused(415, `the ${format} cannot be decoded: ${firstLine(error)}`)
  }
}

const inspect = async (picture: Uint8Array): Promise<{ readonly format: string; readonly pixels: number }> => {
  try {
    const { format, width, height } = await sharp(picture, { limitInputPixels: false }).metadata()
    return { format, pixels: width * height }
  } catch (error) {
    throw new Refused(415, `the body is not a picture: ${firstLine(error)}`)
  }
}

const firstLine = (error: unknown): string => String(error instanceof Error ? error.message : error).split("\n")[0]!
