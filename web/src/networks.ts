// The networks and the graphs around them, in onnxruntime-web: each takes and gives named tensors, no more.

import * as ort from "onnxruntime-web/wasm";
import glue from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";

import { checked, unpacked } from "./files";
import type { Manifest } from "./manifest";

export type Feeds = Record<string, ort.Tensor>;
export type Answers = Record<string, ort.Tensor>;

export interface Networks {
  manifest: Manifest;
  threads: number;
  run(name: string, feeds: Feeds): Promise<Answers>;
}

declare const __RUNTIME__: string; // the runtime's file, named by vite.config.ts

/** Load everything from `base`; `heard` is told how many bytes have come, of about how many. */
export async function loadNetworks(base: URL, heard: (done: number, of: number) => void): Promise<Networks> {
  const folder = new URL("models/", base);
  const answer = await fetch(new URL("manifest.json", folder));
  if (!answer.ok) throw new Error(`models/manifest.json is missing on the server (${answer.status})`);
  const manifest: Manifest = await answer.json();
  let done = 0;
  const progress = (bytes: number) => heard((done += bytes), EXPECTED);
  const threads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: new URL(glue, base) };
  ort.env.logLevel = "error";
  const runtime = unpacked(new URL(__RUNTIME__, base), progress);
  const stored = { ...manifest.models, ...manifest.graphs };
  const files = Object.entries(stored).map(async ([name, file]) => [name, await checked(file, folder, progress)] as const);
  ort.env.wasm.wasmBinary = await runtime;
  const sessions = new Map<string, ort.InferenceSession>();
  for (const file of files) {
    const [name, content] = await file;
    sessions.set(name, await ort.InferenceSession.create(content, { executionProviders: ["wasm"] }));
  }
  return { manifest, threads, run: (name, feeds) => sessions.get(name)!.run(feeds) };
}

const EXPECTED = 11.1e6; // packed bytes of runtime, networks and graphs, for the progress bar

export const bytes = (data: Uint8Array, ...dims: number[]) => new ort.Tensor("uint8", data, dims);
export const whole = (...values: number[]) => new ort.Tensor("int64", BigInt64Array.from(values.map(BigInt)), [values.length]);
