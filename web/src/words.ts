// What a record says, in plain words (src/cutis/analysis/words.py).

import type { Manifest } from "./manifest";
import type { Analysis, Diagnosis, Lesion, Symmetry } from "./record";

export const percent = (share: number, digits = 0) => `${(100 * share).toFixed(digits)}%`;

const SYMMETRIES: Record<string, string> = {
  asymmetric: "asymmetric",
  symmetric: "symmetric",
  one_axis: "symmetric about one axis",
  two_axes: "symmetric about two axes",
};

export function title(analysis: Analysis): string {
  return { lesion: "Lesion found", no_lesion: "No lesion found", failed: "Not analysed" }[analysis.status];
}

export function answer({ lesion }: Analysis, manifest: Manifest): string {
  if (!lesion) {
    return (
      "No lesion stands out in this picture. Lesions that are very pale or very small can be missed. " +
      "Without a lesion the networks for symmetry and class were not asked."
    );
  }
  const share = lesion.area_share >= 0.01 ? percent(lesion.area_share) : percent(lesion.area_share, 1);
  const where = lesion.touches_frame ? ", reaches its edge" : "";
  return (
    `It covers ${share} of the picture${where} and is ${extent(lesion)} across. ` +
    `Its shape is ${asymmetry(lesion)}, its outline ${border(lesion, manifest)}.`
  );
}

export function extent(lesion: Lesion): string {
  return lesion.diameter_mm === null ? `${lesion.diameter.toFixed(0)} pixels` : `${lesion.diameter_mm.toFixed(1)} mm`;
}

function asymmetry({ asymmetry: found }: Lesion): string {
  return ["symmetric", "asymmetric about one axis", "asymmetric about both axes"][found.asymmetric_axes];
}

export function border({ border: found }: Lesion, { numbers }: Manifest): string {
  if (found.irregularity < numbers.border.smooth) return "smooth";
  return found.irregularity < numbers.border.uneven ? "uneven" : "irregular";
}

export function symmetry(found: Symmetry): string {
  const from = found.threshold !== null && found.probability < 0.5;
  const more = from ? `; it says symmetric from ${percent(found.threshold!)} on` : "";
  return `${SYMMETRIES[found.label] ?? found.label} (${probability(found.probability)}${more})`;
}

export function className(label: string, { words }: Manifest): string {
  return words.classes[label] ?? label;
}

export function diagnosis(found: Diagnosis, manifest: Manifest): string {
  if (found.label === null) return `not sure: ${found.reasons.join("; ")}`;
  return `most like ${className(found.label, manifest)} (${probability(found.probabilities[found.label])})`;
}

/** A probability that a network gives is neither nothing nor all. */
export function probability(p: number): string {
  if (p < 0.01) return "under 1%";
  return p > 0.99 ? "over 99%" : percent(p);
}
