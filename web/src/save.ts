// What a person takes away: the record, the mask, the picture with its outline, or paper.

import type { Analysis } from "./record";

export function stem(file: string): string {
  return file.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_") || "picture";
}

/** The record as `cutis analyze` writes it, naming the files saved beside it. */
export function recordBlob(analysis: Analysis): Blob {
  const name = stem(analysis.file);
  const lesion = analysis.lesion && { ...analysis.lesion, mask: `${name}-mask.png`, overlay: `${name}-overlay.png` };
  return new Blob([`${JSON.stringify({ ...analysis, lesion }, null, 2)}\n`], { type: "application/json" });
}

export function canvasBlob(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture could not be written"))), "image/png");
  });
}

export function download(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
