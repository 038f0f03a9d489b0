// Pictures drawn from pixels: the photo, a map over it, the outline on it (src/cutis/analysis/overlay.py).

import type { Point } from "./contour";
import { hex } from "./dom";
import type { Picture } from "./engine";
import type { Manifest } from "./manifest";
import type { Plane } from "./plane";

export function photograph(canvas: HTMLCanvasElement, { rgba, width, height }: Picture): void {
  [canvas.width, canvas.height] = [width, height];
  const pixels = new ImageData(new Uint8ClampedArray(rgba.buffer, rgba.byteOffset, rgba.length), width, height);
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
}

/** The map over the picture, which loses its colours, so that every hue is the map's. */
export function mapped(canvas: HTMLCanvasElement, photo: HTMLCanvasElement, map: Plane, manifest: Manifest): void {
  [canvas.width, canvas.height] = [map.width, map.height];
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, map.width, map.height);
  const pixels = context.getImageData(0, 0, map.width, map.height);
  const { least, most } = manifest.numbers.shown;
  for (let k = 0; k < map.data.length; k++) {
    const at = 4 * k;
    const grey = 0.299 * pixels.data[at] + 0.587 * pixels.data[at + 1] + 0.114 * pixels.data[at + 2];
    const share = least + ((most - least) * map.data[k]) / 255;
    manifest.colours.map[map.data[k]].forEach((value, channel) => {
      pixels.data[at + channel] = grey + share * (value - grey);
    });
  }
  context.putImageData(pixels, 0, 0);
}

/** The picture with the outline: a light line on a dark casing, told by brightness alone. */
export function outlined(photo: HTMLCanvasElement, full: Picture, outline: Point[], manifest: Manifest): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [photo.width, photo.height];
  const context = canvas.getContext("2d")!;
  context.drawImage(photo, 0, 0);
  if (!outline.length) return canvas;
  const [sx, sy] = [photo.width / full.fullWidth, photo.height / full.fullHeight];
  context.beginPath();
  outline.forEach(([x, y]) => context.lineTo(x * sx, y * sy));
  context.closePath();
  const line = Math.max(1, Math.round(Math.max(photo.width, photo.height) / 320));
  for (const [colour, width] of [
    [manifest.colours.casing, 2 * line + 1],
    [manifest.colours.line, line],
  ] as const) {
    context.strokeStyle = hex(colour);
    context.lineWidth = width;
    context.stroke();
  }
  return canvas;
}
