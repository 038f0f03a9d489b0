// Closed outlines: followed on a mask, measured, smoothed, and filled again. Points are pixel centres, x right, y down.

import { blank, gaussian, type Plane } from "./plane";

export type Point = [number, number];

const AROUND: Point[] = [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]]; // clockwise as seen

/** Outer outlines of all 8-connected parts, pixel by pixel (Suzuki and Abe, 1985, as OpenCV's findContours). */
export function outlines(mask: Plane): Point[][] {
  const { data, width, height } = mask;
  const seen = new Uint8Array(data.length); // of parts whose outline is known
  const found: Point[][] = [];
  const stack: number[] = [];
  for (let start = 0; start < data.length; start++) {
    if (!data[start] || seen[start]) continue;
    found.push(followed(mask, start % width, Math.floor(start / width)));
    stack.push(start);
    seen[start] = 1;
    while (stack.length) {
      const at = stack.pop()!;
      const [x, y] = [at % width, Math.floor(at / width)];
      for (const [dx, dy] of AROUND) {
        if (x + dx < 0 || y + dy < 0 || x + dx >= width || y + dy >= height) continue;
        const next = at + dy * width + dx;
        if (data[next] && !seen[next]) {
          seen[next] = 1;
          stack.push(next);
        }
      }
    }
  }
  return found;
}

function followed({ data, width, height }: Plane, startX: number, startY: number): Point[] {
  const set = (x: number, y: number) => x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] !== 0;
  const towards = (dx: number, dy: number) => AROUND.findIndex(([x, y]) => x === dx && y === dy);
  let first = -1;
  for (let k = 0; k < 8 && first < 0; k++) {
    const turn = (4 + k) % 8; // clockwise from the left
    if (set(startX + AROUND[turn][0], startY + AROUND[turn][1])) first = turn;
  }
  if (first < 0) return [[startX, startY]];
  const [lastX, lastY] = [startX + AROUND[first][0], startY + AROUND[first][1]];
  const points: Point[] = [];
  let [x, y, from] = [startX, startY, first];
  for (;;) {
    let next = from;
    do next = (next + 7) % 8;
    while (!set(x + AROUND[next][0], y + AROUND[next][1]));
    points.push([x, y]);
    const [nx, ny] = [x + AROUND[next][0], y + AROUND[next][1]];
    if (nx === startX && ny === startY && x === lastX && y === lastY) return points;
    from = towards(x - nx, y - ny);
    [x, y] = [nx, ny];
  }
}

/** The outline of the largest part. */
export function largestOutline(mask: Plane): Point[] {
  return outlines(mask).reduce((best, one) => (area(one) > area(best) ? one : best));
}

/** Area inside a closed chain of points. */
export function area(points: Point[]): number {
  let twice = 0;
  for (let k = 0; k < points.length; k++) {
    const [x, y] = points[k];
    const [nx, ny] = points[(k + 1) % points.length];
    twice += x * ny - nx * y;
  }
  return Math.abs(twice) / 2;
}

/** Length of a closed chain of points. */
export function length(points: Point[]): number {
  let sum = 0;
  for (let k = 0; k < points.length; k++) {
    const [x, y] = points[k];
    const [nx, ny] = points[(k + 1) % points.length];
    sum += Math.hypot(nx - x, ny - y);
  }
  return sum;
}

/** The corners of the convex hull (Andrew's monotone chain). */
export function hull(points: Point[]): Point[] {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  if (sorted.length < 3) return sorted;
  const half = (ordered: Point[]) => {
    const chain: Point[] = [];
    for (const point of ordered) {
      while (chain.length > 1 && !turnsLeft(chain[chain.length - 2], chain[chain.length - 1], point)) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

const turnsLeft = (a: Point, b: Point, c: Point) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0;

/** A closed chain after a Gaussian along it; one too short for that as it is. */
export function smoothed(points: Point[], sigma: number): Point[] {
  const reach = Math.floor(3 * sigma);
  if (points.length <= 2 * reach) return points;
  const weights = gaussian(reach, sigma);
  const closed = [...points.slice(-reach), ...points, ...points.slice(0, reach)];
  return points.map((_, k) => {
    let [x, y] = [0, 0];
    for (let step = 0; step < weights.length; step++) {
      x += weights[step] * closed[k + step][0];
      y += weights[step] * closed[k + step][1];
    }
    return [x, y];
  });
}

/** Distance of the two farthest points. */
export function longestExtent(points: Point[]): number {
  const corners = hull(points);
  let longest = 0;
  for (const [x, y] of corners) for (const [nx, ny] of corners) longest = Math.max(longest, Math.hypot(nx - x, ny - y));
  return longest;
}

/** The pixels whose centres lie inside a closed chain of points (even-odd), as a mask of 0 and 1. */
export function filled(points: Point[], width: number, height: number): Plane {
  const mask = blank(width, height);
  for (let y = 0; y < height; y++) {
    const crossings: number[] = [];
    for (let k = 0; k < points.length; k++) {
      const [x, py] = points[k];
      const [nx, ny] = points[(k + 1) % points.length];
      if (py <= y !== ny <= y) crossings.push(x + ((y - py) / (ny - py)) * (nx - x));
    }
    crossings.sort((a, b) => a - b);
    for (let k = 0; k + 1 < crossings.length; k += 2) {
      const first = Math.max(0, Math.ceil(crossings[k]));
      const last = Math.min(width - 1, Math.floor(crossings[k + 1]));
      if (last >= first) mask.data.fill(1, y * width + first, y * width + last + 1);
    }
  }
  return mask;
}
