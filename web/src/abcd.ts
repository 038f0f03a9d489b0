// Asymmetry, border, colours and diameter: src/cutis/analysis/abcd.py in the browser's language, with its numbers.

import { area, hull, largestOutline, length, longestExtent, smoothed } from "./contour";
import type { Numbers, Triple } from "./manifest";
import { blank, blurred, boundingBox, resized, type Plane } from "./plane";
import { rint, rounded, type Asymmetry, type Border, type Colour } from "./record";

type Limits = Numbers["abcd"];

export interface Shape {
  asymmetry: Asymmetry;
  border: Border;
  diameter: number;
}

/** What a mask alone says; diameter and perimeter in its pixels. */
export function measureShape(mask: Plane, limits: Limits): Shape {
  const { cut, scale } = cutOut(mask, limits);
  return {
    asymmetry: asymmetry(cut, limits),
    border: border(cut, scale, limits),
    diameter: longestExtent(largestOutline(mask)) + 1,
  };
}

/** RGB triples of a lesion's pixels -> the colours present, largest share first; each pixel's is the nearest in CIELAB. */
export function measureColours(pixels: Triple[], references: Record<string, Triple>, limits: Limits): Colour[] {
  const names = Object.keys(references);
  const labs = names.map((name) => lab(references[name]));
  const counts = names.map(() => 0);
  const step = 1 + Math.floor(pixels.length / limits.max_colour_pixels);
  let total = 0;
  for (let k = 0; k < pixels.length; k += step, total++) {
    const [l, a, b] = lab(pixels[k]);
    const away = labs.map(([rl, ra, rb]) => (l - rl) ** 2 + (a - ra) ** 2 + (b - rb) ** 2);
    counts[away.indexOf(Math.min(...away))]++;
  }
  return names
    .map((name, k) => ({ name, share: counts[k] / Math.max(1, total) }))
    .filter(({ share }) => share >= limits.min_share)
    .map(({ name, share }) => ({ name, share: rounded(share, 4) }))
    .sort((a, b) => b.share - a.share);
}

/** The mask's box at one size, with a margin, and the scale. */
function cutOut(mask: Plane, limits: Limits): { cut: Plane; scale: number } {
  const box = boundingBox(mask);
  const framed = blank(box.width + 6, box.height + 6);
  for (let y = 0; y < box.height; y++) {
    for (let x = 0; x < box.width; x++) {
      if (mask.data[(box.top + y) * mask.width + box.left + x]) framed.data[(y + 3) * framed.width + x + 3] = 255;
    }
  }
  const scale = Math.min(limits.side / Math.max(box.width, box.height), limits.max_enlarged);
  const width = Math.max(1, rint(framed.width * scale));
  const height = Math.max(1, rint(framed.height * scale));
  let scaled = resized(framed, width, height, scale < 0.5);
  if (scale > 1) scaled = blurred(scaled, 0.7 * scale);
  const values = scaled.data.map(rint);
  let level = 128;
  if (!values.some((value) => value >= level)) level = values.reduce((a, b) => Math.max(a, b));
  const cut = blank(width + 2, height + 2);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) cut.data[(y + 1) * cut.width + x + 1] = values[y * width + x] >= level ? 1 : 0;
  }
  return { cut, scale };
}

function border(cut: Plane, scale: number, limits: Limits): Border {
  const smooth = smoothed(largestOutline(cut), limits.smoothing);
  const perimeter = length(smooth) + Math.PI;
  const inside = area(smooth) + perimeter / 2;
  const corners = hull(smooth);
  const whole = area(corners) + length(corners) / 2;
  return {
    irregularity: rounded(perimeter ** 2 / (4 * Math.PI * inside), 4),
    hull_defect: rounded(Math.min(1, Math.max(0, 1 - inside / whole)), 4),
    perimeter: perimeter / scale,
  };
}

function asymmetry(cut: Plane, limits: Limits): Asymmetry {
  const { data, width } = cut;
  let [mass, sumX, sumY] = [0, 0, 0];
  data.forEach((value, at) => {
    if (!value) return;
    mass++;
    sumX += at % width;
    sumY += Math.floor(at / width);
  });
  const [cx, cy] = [sumX / mass, sumY / mass];
  let [xx, yy, xy] = [0, 0, 0];
  data.forEach((value, at) => {
    if (!value) return;
    const [dx, dy] = [(at % width) - cx, Math.floor(at / width) - cy];
    xx += dx * dx;
    yy += dy * dy;
    xy += dx * dy;
  });
  [xx, yy, xy] = [xx / mass, yy / mass, xy / mass];
  const spread = Math.hypot(xx - yy, 2 * xy);
  const ratio = Math.sqrt(Math.max(0, xx + yy - spread) / Math.max(xx + yy + spread, 1e-9));
  let angle = (0.5 * Math.atan2(2 * xy, xx - yy) * 180) / Math.PI;
  if (ratio > limits.round) angle = bestPair(cut, cx, cy, angle, limits.half >> 1);
  const [major, minor] = folded(cut, cx, cy, angle, limits.half);
  const axes = Number(major > limits.asymmetric) + Number(minor > limits.asymmetric);
  return {
    major_axis: rounded(major, 4),
    minor_axis: rounded(minor, 4),
    asymmetric_axes: axes as 0 | 1 | 2,
    angle_degrees: rounded(((((-angle + 90) % 180) + 180) % 180) - 90, 1),
  };
}

/** Angle of the perpendicular axes with the least asymmetry: every 10 degrees, then finer. */
function bestPair(cut: Plane, cx: number, cy: number, start: number, half: number): number {
  const cost = (angle: number) => folded(cut, cx, cy, angle, half).reduce((a, b) => a + b);
  const least = (angles: number[]) => angles.reduce((best, angle) => (cost(angle) < cost(best) ? angle : best));
  let best = least(Array.from({ length: 9 }, (_, k) => start + 10 * k));
  for (const step of [5, 2.5, 1.25]) best = least([best, best - step, best + step]);
  return best;
}

/** The axis at `angle` turned level; the shares that folding along it and across it leaves unmatched. */
function folded({ data, width, height }: Plane, cx: number, cy: number, angle: number, half: number): [number, number] {
  const scale = half / Math.hypot(Math.max(cx, width - cx), Math.max(cy, height - cy));
  const side = 2 * half + 1;
  const [cos, sin] = [Math.cos((angle * Math.PI) / 180) / scale, Math.sin((angle * Math.PI) / 180) / scale];
  const level = new Uint8Array(side * side);
  let count = 0;
  for (let v = 0; v < side; v++) {
    for (let u = 0; u < side; u++) {
      const x = cx + cos * (u - half) - sin * (v - half);
      const y = cy + sin * (u - half) + cos * (v - half);
      const x0 = Math.floor(x);
      const y0 = Math.floor(y);
      if (x0 < 0 || y0 < 0 || x0 + 1 >= width || y0 + 1 >= height) continue; // the outermost pixels are empty
      const fx = x - x0;
      const fy = y - y0;
      const from = y0 * width + x0;
      const upper = data[from] * (1 - fx) + data[from + 1] * fx;
      const lower = data[from + width] * (1 - fx) + data[from + width + 1] * fx;
      if ((upper * (1 - fy) + lower * fy) * 255 >= 127.5) {
        level[v * side + u] = 1;
        count++;
      }
    }
  }
  let [along, across] = [0, 0];
  for (let v = 0; v < side; v++) {
    for (let u = 0; u < side; u++) {
      if (!level[v * side + u]) continue;
      if (!level[(side - 1 - v) * side + u]) along++;
      if (!level[v * side + side - 1 - u]) across++;
    }
  }
  return [along / Math.max(1, count), across / Math.max(1, count)];
}

/** sRGB, 0 to 255 -> CIELAB, L from 0 to 100, white D65 (as OpenCV). */
function lab([red, green, blue]: Triple): Triple {
  const linear = [red, green, blue].map((value) => {
    const v = value / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  const [r, g, b] = linear;
  const x = root((0.412453 * r + 0.35758 * g + 0.180423 * b) / 0.950456);
  const luminance = 0.212671 * r + 0.71516 * g + 0.072169 * b;
  const y = root(luminance);
  const z = root((0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.088754);
  return [luminance > 0.008856 ? 116 * y - 16 : 903.3 * luminance, 500 * (x - y), 200 * (y - z)];
}

const root = (value: number) => (value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116);
