// A file becomes pixels: as the person sees it (EXIF orientation undone), no colour management, transparency over white.

import type { Picture } from "./engine";
import { BadFile, header } from "./headers";
import type { Numbers } from "./manifest";

/** Raises `BadFile` with one plain sentence about what is wrong with it. */
export async function readPicture(file: Blob, numbers: Numbers): Promise<Picture> {
  if (file.size > 8 * numbers.max_pixels) {
    throw new BadFile(`is a file of ${Math.round(file.size / 1e6)} MB: save it smaller`);
  }
  const content = new Uint8Array(await file.arrayBuffer());
  const { kind, width, height } = header(content);
  if (width * height > numbers.max_pixels) {
    const limit = numbers.max_pixels / 1e6;
    throw new BadFile(`has ${width} x ${height} pixels, over the limit of ${limit} megapixels: save it smaller`);
  }
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([content]), {
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
      colorSpaceConversion: "none",
    });
  } catch {
    throw new BadFile(`is a damaged ${kind} file: save or copy it again`);
  }
  try {
    return shrunk(bitmap, factor(Math.max(bitmap.width, bitmap.height), numbers.read_side));
  } finally {
    bitmap.close();
  }
}

/** The largest of 8, 4, 2 that leaves the longest side at least `least`, else 1. */
function factor(longest: number, least: number): number {
  return [8, 4, 2].find((k) => Math.ceil(longest / k) >= least) ?? 1;
}

const STRIP = 256; // rows drawn at once, so that a large photo never lies in memory twice

/** Means of `by` x `by` pixels; where the picture ends, of those that are there. */
function shrunk(bitmap: ImageBitmap, by: number): Picture {
  const [fullWidth, fullHeight] = [bitmap.width, bitmap.height];
  const [width, height] = [Math.ceil(fullWidth / by), Math.ceil(fullHeight / by)];
  const rgba = new Uint8Array(4 * width * height).fill(255);
  const canvas = new OffscreenCanvas(fullWidth, Math.min(STRIP, fullHeight));
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "white";
  for (let from = 0; from < fullHeight; from += STRIP) {
    const rows = Math.min(STRIP, fullHeight - from);
    context.fillRect(0, 0, fullWidth, rows);
    context.drawImage(bitmap, 0, -from);
    const { data } = context.getImageData(0, 0, fullWidth, rows);
    if (by === 1) rgba.set(data, 4 * width * from);
    else average(data, fullWidth, rows, by, rgba.subarray(4 * width * (from / by)));
  }
  return { rgba, width, height, fullWidth, fullHeight };
}

function average(from: Uint8ClampedArray, width: number, rows: number, by: number, to: Uint8Array): void {
  const across = Math.ceil(width / by);
  for (let y = 0; y * by < rows; y++) {
    for (let x = 0; x < across; x++) {
      let [red, green, blue, n] = [0, 0, 0, 0];
      for (let v = y * by; v < Math.min(rows, (y + 1) * by); v++) {
        for (let u = x * by; u < Math.min(width, (x + 1) * by); u++, n++) {
          const at = 4 * (v * width + u);
          red += from[at];
          green += from[at + 1];
          blue += from[at + 2];
        }
      }
      const at = 4 * (y * across + x);
      to[at] = Math.round(red / n);
      to[at + 1] = Math.round(green / n);
      to[at + 2] = Math.round(blue / n);
    }
  }
}
