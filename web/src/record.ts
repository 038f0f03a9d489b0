// What an analysis answers: the same record as `cutis analyze` writes (src/cutis/records.py).

import type { ModelInfo } from "./manifest";

export interface Asymmetry {
  major_axis: number;
  minor_axis: number;
  asymmetric_axes: 0 | 1 | 2;
  angle_degrees: number;
}

export interface Border {
  irregularity: number;
  hull_defect: number;
  perimeter: number;
}

export interface Colour {
  name: string;
  share: number;
}

export interface Lesion {
  mask: string | null;
  overlay: string | null;
  box: [number, number, number, number];
  area: number;
  area_share: number;
  touches_frame: boolean;
  confidence: number;
  asymmetry: Asymmetry;
  border: Border;
  colours: Colour[];
  diameter: number;
  diameter_mm: number | null;
  area_mm2: number | null;
}

export interface Symmetry {
  label: string;
  probability: number;
  probabilities: Record<string, number>;
  threshold: number | null;
  activation_map: string | null;
}

export interface Diagnosis {
  label: string | null;
  probabilities: Record<string, number>;
  prediction_set: string[];
  coverage: number | null;
  unlikeness: number | null;
  unlikeness_limit: number | null;
  reasons: string[];
  activation_map: string | null;
}

export interface Quality {
  sharpness: number;
  brightness: number;
  overexposed: number;
  underexposed: number;
  hair_cover: number;
  dark_corners: number;
  warnings: string[];
}

export interface Analysis {
  file: string;
  status: "lesion" | "no_lesion" | "failed";
  error: string | null;
  width: number | null;
  height: number | null;
  lesion: Lesion | null;
  symmetry: Symmetry | null;
  diagnosis: Diagnosis | null;
  quality: Quality | null;
  model: ModelInfo | null;
  symmetry_model: ModelInfo | null;
  class_model: ModelInfo | null;
  times_ms: Record<string, number>;
  cutis: string;
}

/** Half to even, as Python and OpenCV round. */
export function rint(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest < 0.5 ? floor : rest > 0.5 ? floor + 1 : floor % 2 === 0 ? floor : floor + 1;
}

export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
