// What the page and its worker say to each other.

import type { Point } from "./contour";
import type { Outcome, Picture } from "./engine";
import type { Manifest } from "./manifest";
import type { Analysis } from "./record";

export type Ask =
  | { id: number; kind: "load"; base: string }
  | { id: number; kind: "analyse"; file: Blob; name: string }
  | { id: number; kind: "correct"; outline: Point[] | null }
  | { id: number; kind: "mask" };

export interface Loaded {
  manifest: Manifest;
  threads: number;
}

export type Found = Outcome & { picture: Picture };

export interface Results {
  load: Loaded;
  analyse: Found;
  correct: Analysis | null;
  mask: Blob | null;
}

export type Tell =
  | { id: number; kind: "done"; result: unknown }
  | { id: number; kind: "bad"; message: string; file: boolean }
  | { id: number; kind: "progress"; done: number; of: number };
