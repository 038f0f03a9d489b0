// Everything slow, away from the page: loading, decoding, networks, measures.

import { Engine } from "./engine";
import { BadFile } from "./headers";
import { readPicture } from "./image";
import type { Ask, Results, Tell } from "./messages";
import { loadNetworks, type Networks } from "./networks";
import type { Plane } from "./plane";

let networks: Networks | null = null;
let engine: Engine | null = null;
const tell = (message: Tell, moved: Transferable[] = []) => self.postMessage(message, { transfer: moved });

let before: Promise<void> = Promise.resolve(); // one question at a time, in order
self.addEventListener("message", ({ data }: MessageEvent<Ask>) => {
  before = before.then(() => answer(data));
});

async function answer(ask: Ask): Promise<void> {
  try {
    const [result, moved] = await answered(ask);
    tell({ id: ask.id, kind: "done", result }, moved);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    tell({ id: ask.id, kind: "bad", message, file: error instanceof BadFile });
  }
}

async function answered(ask: Ask): Promise<[Results[keyof Results], Transferable[]]> {
  if (ask.kind === "load") {
    networks = await loadNetworks(new URL(ask.base), (done, of) => tell({ id: ask.id, kind: "progress", done, of }));
    const made = new Engine(networks);
    engine = made;
    before = before.then(() => made.warm());
    return [{ manifest: networks.manifest, threads: networks.threads }, []];
  }
  if (!engine || !networks) throw new Error("the networks are not loaded");
  if (ask.kind === "analyse") {
    const start = performance.now();
    const picture = await readPicture(ask.file, networks.manifest.numbers);
    const read = performance.now() - start;
    const outcome = await engine.analyse(picture, ask.name);
    outcome.analysis.times_ms = { read: Number(read.toFixed(3)), ...outcome.analysis.times_ms };
    return [{ ...outcome, picture }, []];
  }
  if (ask.kind === "correct") return [engine.correct(ask.outline), []];
  return [engine.mask && (await png(engine.mask)), []];
}

/** A mask of 0 and 1 as a PNG of 0 and 255. */
async function png({ data, width, height }: Plane): Promise<Blob> {
  const canvas = new OffscreenCanvas(width, height);
  const pixels = new ImageData(width, height);
  new Uint32Array(pixels.data.buffer).set(Uint32Array.from(data, (value) => (value ? 0xffffffff : 0xff000000)));
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
