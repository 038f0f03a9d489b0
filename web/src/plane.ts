// One value a pixel, row by row: the few operations on masks and grey pictures that OpenCV does in Python.

import type { Offsets } from "./manifest";

export interface Plane<T extends Uint8Array | Float32Array | Int32Array = Uint8Array> {
  data: T;
  width: number;
  height: number;
}

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

export function blank(width: number, height: number): Plane {
  return { data: new Uint8Array(width * height), width, height };
}

export function count({ data }: Plane): number {
  let sum = 0;
  for (let k = 0; k < data.length; k++) if (data[k]) sum++;
  return sum;
}

/** The box around what is not 0; of nothing, of no extent. */
export function boundingBox({ data, width, height }: Plane): Box {
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0, row = 0; y < height; y++, row += width) {
    let first = 0;
    while (first < width && !data[row + first]) first++;
    if (first === width) continue;
    let last = width - 1;
    while (!data[row + last]) last--;
    left = Math.min(left, first);
    right = Math.max(right, last);
    top = Math.min(top, y);
    bottom = y;
  }
  return right < 0 ? { left: 0, top: 0, width: 0, height: 0 } : { left, top, width: right - left + 1, height: bottom - top + 1 };
}

/** Labels from 1 in the order in which their first pixels are met, 0 for what is 0; and each label's pixel count and box. */
export function components(mask: Plane, diagonal: boolean): { labels: Int32Array; sizes: number[]; boxes: Box[] } {
  const { data, width, height } = mask;
  const labels = new Int32Array(data.length);
  const stack = new Int32Array(data.length);
  const sizes = [0];
  const boxes: Box[] = [{ left: 0, top: 0, width: 0, height: 0 }];
  for (let start = 0; start < data.length; start++) {
    if (!data[start] || labels[start]) continue;
    const label = sizes.length;
    let [depth, size, left, right, bottom] = [1, 0, width, -1, 0];
    const top = Math.floor(start / width);
    stack[0] = start;
    labels[start] = label;
    while (depth) {
      const at = stack[--depth];
      const x = at % width;
      const y = (at - x) / width;
      size++;
      left = Math.min(left, x);
      right = Math.max(right, x);
      bottom = Math.max(bottom, y);
      for (let dy = -1; dy <= 1; dy++) {
        if (y + dy < 0 || y + dy >= height) continue;
        for (let dx = -1; dx <= 1; dx++) {
          if (x + dx < 0 || x + dx >= width || (!diagonal && dx && dy)) continue;
          const next = at + dy * width + dx;
          if (data[next] && !labels[next]) {
            labels[next] = label;
            stack[depth++] = next;
          }
        }
      }
    }
    sizes.push(size);
    boxes.push({ left, top, width: right - left + 1, height: bottom - top + 1 });
  }
  return { labels, sizes, boxes };
}

/** The largest component with its holes filled (`imaging/postprocess.py`); an empty mask stays empty. */
export function cleanMask(mask: Plane): Plane {
  const { width, height } = mask;
  const { labels, sizes } = components(mask, true);
  const out = blank(width, height);
  if (sizes.length === 1) return out;
  let largest = 1;
  for (let label = 2; label < sizes.length; label++) if (sizes[label] > sizes[largest]) largest = label;
  const outside = blank(width + 2, height + 2); // a border of background, from which all true background is reached
  outside.data.fill(1);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (labels[y * width + x] === largest) outside.data[(y + 1) * (width + 2) + x + 1] = 0;
    }
  }
  const reached = components(outside, false).labels;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      out.data[y * width + x] = reached[(y + 1) * (width + 2) + x + 1] === 1 ? 0 : 1;
    }
  }
  return out;
}

/** Largest value under a structuring element (the same when turned by half); what lies beyond the border does not count. */
export function dilate({ data, width, height }: Plane, kernel: Offsets): Plane {
  const reach = kernel.reduce((most, [dx, dy]) => Math.max(most, Math.abs(dx), Math.abs(dy)), 0);
  const stride = width + 2 * reach;
  const padded = new Uint8Array(stride * (height + 2 * reach));
  for (let y = 0; y < height; y++) padded.set(data.subarray(y * width, (y + 1) * width), (y + reach) * stride + reach);
  const steps = Int32Array.from(kernel, ([dx, dy]) => dy * stride + dx);
  const out = blank(width, height);
  for (let y = 0; y < height; y++) {
    const row = (y + reach) * stride + reach;
    for (let x = 0; x < width; x++) {
      let best = 0;
      for (let k = 0; k < steps.length; k++) {
        const value = padded[row + x + steps[k]];
        if (value > best) best = value;
      }
      out.data[y * width + x] = best;
    }
  }
  return out;
}

const inverted = (plane: Plane): Plane => ({ ...plane, data: plane.data.map((value) => 255 - value) });

export const erode = (plane: Plane, kernel: Offsets): Plane => inverted(dilate(inverted(plane), kernel));
export const closed = (plane: Plane, kernel: Offsets): Plane => erode(dilate(plane, kernel), kernel);

/** Adds to `out` what an opening by a structuring element leaves of a mask that is set at few pixels. */
export function addOpened({ data, width, height }: Plane, kernel: Offsets, out: Plane): void {
  for (let at = 0; at < data.length; at++) {
    if (!data[at]) continue;
    const [x, y] = [at % width, Math.floor(at / width)];
    const inside = kernel.filter(([dx, dy]) => x + dx >= 0 && y + dy >= 0 && x + dx < width && y + dy < height);
    if (!inside.every(([dx, dy]) => data[at + dy * width + dx])) continue;
    for (const [dx, dy] of kernel) {
      const [nx, ny] = [x - dx, y - dy]; // OpenCV dilates by the same element, not by its mirror image
      if (nx >= 0 && ny >= 0 && nx < width && ny < height) out.data[ny * width + nx] = 1;
    }
  }
}

/** OpenCV's INTER_LINEAR, or INTER_AREA where `area`, unrounded. */
export function resized(plane: Plane, width: number, height: number, area: boolean): Plane<Float32Array> {
  const across = taps(plane.width, width, area);
  const down = taps(plane.height, height, area);
  const rows = new Float32Array(width * plane.height);
  for (let y = 0; y < plane.height; y++) {
    const row = y * plane.width;
    for (let x = 0; x < width; x++) {
      const { first, weights } = across[x];
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * plane.data[row + first + k];
      rows[y * width + x] = sum;
    }
  }
  const data = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const { first, weights } = down[y];
    for (let k = 0; k < weights.length; k++) {
      const from = (first + k) * width;
      for (let x = 0; x < width; x++) data[y * width + x] += weights[k] * rows[from + x];
    }
  }
  return { data, width, height };
}

/** What each of `to` pixels is made of: neighbouring pixels from `first` on, and their weights. */
function taps(from: number, to: number, area: boolean): { first: number; weights: Float64Array }[] {
  const step = from / to;
  return Array.from({ length: to }, (_, k) => {
    if (!area) {
      const place = Math.min(Math.max((k + 0.5) * step - 0.5, 0), from - 1);
      const first = Math.floor(place);
      return { first, weights: Float64Array.from(place > first ? [1 - (place - first), place - first] : [1]) };
    }
    const first = Math.floor(k * step);
    const size = Math.min(from, Math.ceil((k + 1) * step)) - first;
    const covered = (j: number) => (Math.min(j + 1, (k + 1) * step) - Math.max(j, k * step)) / step;
    return { first, weights: Float64Array.from({ length: size }, (_, j) => covered(first + j)) };
  });
}

/** A Gaussian of `2 * reach + 1` values that add up to 1. */
export function gaussian(reach: number, sigma: number): Float64Array {
  const values = Float64Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-((k - reach) ** 2) / (2 * sigma * sigma)));
  const sum = values.reduce((a, b) => a + b, 0);
  return values.map((value) => value / sum);
}

/** Smoothed along both axes, the border mirrored about its outermost pixels; the reach of OpenCV's for 8 bits. */
export function blurred({ data, width, height }: Plane<Float32Array>, sigma: number): Plane<Float32Array> {
  const reach = (Math.round(sigma * 6 + 1) | 1) >> 1;
  const weights = gaussian(reach, sigma);
  const rows = new Float32Array(data.length);
  const out = new Float32Array(data.length);
  const line = new Float32Array(width + 2 * reach);
  for (let y = 0; y < height; y++) {
    for (let x = -reach; x < width + reach; x++) line[x + reach] = data[y * width + mirrored(x, width)];
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * line[x + k];
      rows[y * width + x] = sum;
    }
  }
  for (let y = 0; y < height; y++) {
    for (let k = 0; k < weights.length; k++) {
      const from = mirrored(y + k - reach, height) * width;
      for (let x = 0; x < width; x++) out[y * width + x] += weights[k] * rows[from + x];
    }
  }
  return { data: out, width, height };
}

/** A place beyond the border, mirrored back about the outermost pixel. */
export function mirrored(place: number, size: number): number {
  if (size === 1) return 0;
  let at = place;
  while (at < 0 || at >= size) at = at < 0 ? -at : 2 * size - 2 - at;
  return at;
}
