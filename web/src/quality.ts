// What in the picture may mislead: src/cutis/analysis/quality.py in the browser's language, with its numbers.

import type { Numbers } from "./manifest";
import { addOpened, blank, closed, components, dilate, erode, mirrored, type Box, type Plane } from "./plane";
import { rounded, type Quality } from "./record";

/** The picture as the judges see it: RGB at the network's size without padding, and the lesion on it, or null. */
export interface Look {
  rgb: Uint8Array;
  width: number;
  height: number;
  lesion: Plane | null;
  longestSide: number;
}

export type Measures = Omit<Quality, "warnings">;

export function measureQuality(look: Look, numbers: Numbers): Measures {
  const grey = greyOf(look);
  const hidden = darkCorners(grey, look.lesion, numbers.quality);
  const seen = (k: number) => !hidden.data[k];
  const skin = (k: number) => seen(k) && !look.lesion?.data[k];
  const measures: Measures = {
    sharpness: laplacianVariance(grey),
    brightness: mean(grey, (v) => v, seen) / 255,
    overexposed: mean(grey, (v) => Number(v >= 250), seen),
    underexposed: mean(grey, (v) => Number(v <= 20), skin),
    hair_cover: hairCover(grey, numbers.hair),
    dark_corners: mean(hidden, (v) => v, () => true),
  };
  for (const name of Object.keys(measures) as (keyof Measures)[]) measures[name] = rounded(measures[name], 4);
  return measures;
}

export function warnings(measures: Measures, look: Look, touchesFrame: boolean, limits: Numbers["quality"]): string[] {
  const small = look.longestSide < Math.max(look.width, look.height);
  const found: [string, boolean][] = [
    [`The picture is small (${look.longestSide} pixels on its longest side): details are missing.`, small],
    [
      "The picture looks blurred: its edges are soft, so border and colours are less certain.",
      !small && measures.sharpness < limits.blurred,
    ],
    [
      "The picture is dark: colours are less certain.",
      measures.brightness < limits.dark || measures.underexposed > limits.clipped_dark,
    ],
    [
      "Parts of the picture are overexposed: detail and colour are lost there.",
      measures.overexposed > limits.clipped_bright,
    ],
    ["Hair covers much of the picture: try again with hair removal.", measures.hair_cover > limits.hairy],
    ["Dark corners hide part of the picture.", measures.dark_corners > limits.corners],
    [
      "The lesion touches the edge of the picture: its shape and size are those of the part that is seen.",
      touchesFrame,
    ],
  ];
  return found.filter(([, applies]) => applies).map(([words]) => words);
}

function greyOf({ rgb, width, height }: Look): Plane {
  const grey = blank(width, height);
  for (let k = 0; k < grey.data.length; k++) {
    grey.data[k] = (9798 * rgb[3 * k] + 19235 * rgb[3 * k + 1] + 3735 * rgb[3 * k + 2] + 16384) >> 15;
  }
  return grey;
}

function mean(plane: Plane, value: (v: number) => number, where: (k: number) => boolean): number {
  let [sum, count] = [0, 0];
  for (let k = 0; k < plane.data.length; k++) {
    if (!where(k)) continue;
    sum += value(plane.data[k]);
    count++;
  }
  return count ? sum / count : 0;
}

function laplacianVariance({ data, width, height }: Plane): number {
  let [sum, squares] = [0, 0];
  for (let y = 0; y < height; y++) {
    const row = y * width;
    const above = mirrored(y - 1, height) * width;
    const below = mirrored(y + 1, height) * width;
    for (let x = 0; x < width; x++) {
      const sides = data[row + mirrored(x - 1, width)] + data[row + mirrored(x + 1, width)];
      const value = sides + data[above + x] + data[below + x] - 4 * data[row + x];
      sum += value;
      squares += value * value;
    }
  }
  const n = data.length;
  return squares / n - (sum / n) ** 2;
}

/** Dark areas that reach a corner of the picture; neither hair nor the lesion. */
function darkCorners(grey: Plane, lesion: Plane | null, limits: Numbers["quality"]): Plane {
  const { data, width, height } = grey;
  const some: number[] = [];
  for (let y = 0; y < height; y += 4) for (let x = 0; x < width; x += 4) some.push(data[y * width + x]);
  some.sort((a, b) => a - b);
  const half = some.length >> 1;
  const median = some.length % 2 ? some[half] : (some[half - 1] + some[half]) / 2;
  const limit = Math.max(40, limits.vignette * median);
  const margin = limits.kernel; // a thin dark corner stays
  const padded = blank(width + 2 * margin, height + 2 * margin);
  for (let y = 0; y < padded.height; y++) {
    for (let x = 0; x < padded.width; x++) {
      const inY = Math.min(Math.max(y - margin, 0), height - 1);
      const at = inY * width + Math.min(Math.max(x - margin, 0), width - 1);
      padded.data[y * padded.width + x] = data[at] < limit && !lesion?.data[at] ? 255 : 0;
    }
  }
  const reach = limits.kernel >> 1;
  const row = Array.from({ length: limits.kernel }, (_, k): [number, number] => [k - reach, 0]);
  const column = row.map(([k]): [number, number] => [0, k]);
  const eroded = dilate(dilate(erode(erode(padded, row), column), row), column); // a square, by rows and columns
  const dark = blank(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) dark.data[y * width + x] = eroded.data[(y + margin) * padded.width + x + margin];
  }
  const { labels } = components(dark, false);
  const corners = new Set([0, width - 1, (height - 1) * width, height * width - 1].map((at) => labels[at]));
  corners.delete(0);
  return { data: dark.data.map((_, k) => Number(corners.has(labels[k]))), width, height };
}

/** The share under hair: dark, straight and long (src/cutis/imaging/hair.py). */
function hairCover(grey: Plane, hair: Numbers["hair"]): number {
  const { width, height } = grey;
  const filledIn = closed(grey, hair.cross);
  // Openings of the values cut afterwards, as in Python, are openings of the values cut before.
  const dark: Plane = { ...grey, data: filledIn.data.map((value, k) => Number(value - grey.data[k] > hair.threshold)) };
  const marked = blank(width, height);
  for (const line of hair.lines) addOpened(dark, line, marked);
  const { labels, boxes } = components(marked, true);
  const leaves = ({ left, top, ...box }: Box) =>
    left === 0 || top === 0 || left + box.width === width || top + box.height === height;
  const long = boxes.map((box) => box.width > 0 && (leaves(box) || Math.hypot(box.width, box.height) >= hair.extent));
  const kept: Plane = { ...marked, data: marked.data.map((_, k) => Number(long[labels[k]])) };
  return mean(dilate(kept, hair.disc), (v) => v, () => true);
}
