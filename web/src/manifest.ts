// What `python -m cutis.page` wrote: the files with their hashes, and every number shared with Python.

export interface Stored {
  file: string;
  sha256: string;
  bytes: number;
}

export interface ModelInfo {
  name: string;
  version: string;
  precision: "fp32" | "int8";
  sha256: string;
}

export type Offsets = [right: number, down: number][];
export type Triple = [number, number, number];
export type Role = "segmenter" | "symmetry" | "lesion";

export interface Manifest {
  cutis: string;
  models: Record<Role, Stored & { info: ModelInfo }>;
  graphs: Record<string, Stored>;
  symmetry: { classes: string[]; threshold: number | null };
  lesion: { classes: string[]; coverage: number; unlikeness_limit: number };
  numbers: Numbers;
  words: { classes: Record<string, string>; research_only: string; never: string };
  colours: { map: Triple[]; line: Triple; casing: Triple; lesion: Record<string, Triple> };
}

export interface Numbers {
  max_pixels: number;
  read_side: number;
  shape_side: number;
  level: number;
  min_area_share: number;
  min_confidence: number;
  abcd: {
    side: number;
    max_enlarged: number;
    smoothing: number;
    half: number;
    round: number;
    asymmetric: number;
    min_share: number;
    max_colour_pixels: number;
  };
  quality: {
    blurred: number;
    dark: number;
    clipped_bright: number;
    clipped_dark: number;
    hairy: number;
    corners: number;
    vignette: number;
    kernel: number;
  };
  hair: { threshold: number; extent: number; cross: Offsets; lines: Offsets[]; disc: Offsets };
  border: { smooth: number; uneven: number };
  shown: { least: number; most: number };
}
