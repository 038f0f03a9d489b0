// From pixels to the record: the order of src/cutis/analysis/pipeline.py and cascade.py. The networks, and every step
// around them that is a graph, run as Python exported them; the rest is clean-up and measures.

import { measureColours, measureShape } from "./abcd";
import { filled, largestOutline, smoothed, type Point } from "./contour";
import type { Triple } from "./manifest";
import { bytes, whole, type Networks } from "./networks";
import { boundingBox, cleanMask, count, type Plane } from "./plane";
import { measureQuality, warnings, type Look } from "./quality";
import { rint, rounded, type Analysis, type Diagnosis, type Lesion, type Symmetry } from "./record";

/** RGBA pixels as decoded, opaque, and the size of the picture as a person sees it. */
export interface Picture {
  rgba: Uint8Array<ArrayBuffer>;
  width: number;
  height: number;
  fullWidth: number;
  fullHeight: number;
}

export interface Outcome {
  analysis: Analysis;
  outline: Point[];
  symmetryMap: Plane | null;
  classMap: Plane | null;
}

export const CORRECTED = "The outline was corrected by hand: the measures are those of the corrected outline.";

/** What stays of an image, so that a corrected outline can be measured. */
interface Seen {
  picture: Picture;
  probability: Plane<Float32Array>;
  look: Look;
  analysis: Analysis;
  mask: Plane | null;
  found: { mask: Plane; lesion: Plane } | null; // as the network has them
}

export class Engine {
  private seen: Seen | null = null;

  constructor(private readonly networks: Networks) {}

  /** A drawn disc, analysed and forgotten: what compiles at its first use is compiled before anyone waits. */
  async warm(): Promise<void> {
    const [width, height] = [512, 384];
    const rgba = new Uint8Array(4 * width * height).fill(255);
    for (let k = 0; k < width * height; k++) {
      const inside = Math.hypot((k % width) - width / 2, Math.floor(k / width) - height / 2) < height / 4;
      rgba.set(inside ? [96, 58, 44] : [214, 170, 150], 4 * k);
    }
    await this.analyse({ rgba, width, height, fullWidth: width, fullHeight: height }, "");
    this.seen = null;
  }

  async analyse(picture: Picture, name: string): Promise<Outcome> {
    const { manifest } = this.networks;
    const { numbers, models } = manifest;
    const watch = stopwatch();
    const image = bytes(picture.rgba, picture.height, picture.width, 4);
    const squares = await this.networks.run("letterbox", { image });
    const square = squares.segmenter;
    const [left, top, width, height] = numbersOf(squares.frame);
    watch.lap("prepare");
    const size = square.dims[1];
    const found = (await this.networks.run("segmenter", { image: square })).probability.data as Float32Array;
    watch.lap("network");
    const probability: Plane<Float32Array> = { data: new Float32Array(width * height), width, height };
    const rgb = new Uint8Array(3 * width * height);
    for (let y = 0; y < height; y++) {
      const from = (top + y) * size + left;
      probability.data.set(found.subarray(from, from + width), y * width);
      rgb.set((square.data as Uint8Array).subarray(3 * from, 3 * (from + width)), 3 * y * width);
    }
    const raw = Uint8Array.from(probability.data, (p) => rint(p * 255));
    const above: Plane = { data: raw.map((value) => Number(value > numbers.level)), width, height };
    const lesion = cleanMask(above);
    const cleaned = raw.map((value, k) => (above.data[k] === lesion.data[k] ? value : lesion.data[k] ? 255 : 0));
    const confidence = meanInside(probability, lesion);
    const share = count(lesion) / lesion.data.length;
    const look: Look = { rgb, width, height, lesion: null, longestSide: Math.max(picture.fullWidth, picture.fullHeight) };
    const analysis = this.empty(name, picture);
    this.seen = { picture, probability, look, analysis, mask: null, found: null };
    let outline: Point[] = [];
    let maps: [Plane | null, Plane | null] = [null, null];
    if (share >= numbers.min_area_share && confidence >= numbers.min_confidence) {
      const atSize = (w: number, h: number) => this.atSize({ data: cleaned, width, height }, w, h);
      const mask = await atSize(picture.fullWidth, picture.fullHeight);
      watch.lap("mask");
      if (count(mask)) {
        const scale = numbers.shape_side / Math.max(mask.width, mask.height);
        let smaller = scale < 1 ? await atSize(...scaled(mask, scale)) : mask;
        if (!count(smaller)) smaller = mask;
        this.seen.mask = mask;
        this.seen.found = { mask, lesion };
        look.lesion = lesion;
        analysis.status = "lesion";
        analysis.lesion = this.measured(mask, smaller, confidence);
        outline = displayed(smaller, mask);
        watch.lap("measures");
        maps = await this.asked(squares, picture, analysis, watch.lap);
      }
    }
    const measures = measureQuality(look, numbers);
    const warned = warnings(measures, look, analysis.lesion?.touches_frame ?? false, numbers.quality);
    analysis.quality = { ...measures, warnings: warned };
    watch.lap("quality");
    analysis.times_ms = watch.laps;
    analysis.model = models.segmenter.info;
    analysis.symmetry_model = models.symmetry.info;
    analysis.class_model = models.lesion.info;
    return { analysis, outline, symmetryMap: maps[0], classMap: maps[1] };
  }

  /** The record with the measures of an outline that a person corrected; points in pixels of the full picture. Null
   * takes the correction back. */
  correct(outline: Point[] | null): Analysis | null {
    const seen = this.seen;
    if (!seen?.found || !seen.analysis.quality) return null;
    if (!outline) {
      seen.mask = seen.found.mask;
      seen.look.lesion = seen.found.lesion;
      return seen.analysis;
    }
    const { numbers } = this.networks.manifest;
    const { fullWidth, fullHeight } = seen.picture;
    const mask = filled(outline.map(([x, y]) => [x - 0.5, y - 0.5]), fullWidth, fullHeight);
    if (!count(mask)) return null;
    const drawn = (w: number, h: number) => {
      const [sx, sy] = [w / fullWidth, h / fullHeight];
      return filled(outline.map(([x, y]) => [x * sx - 0.5, y * sy - 0.5]), w, h);
    };
    const scale = numbers.shape_side / Math.max(fullWidth, fullHeight);
    let smaller = scale < 1 ? drawn(...scaled(mask, scale)) : mask;
    if (!count(smaller)) smaller = mask;
    const atNetwork = drawn(seen.look.width, seen.look.height);
    seen.mask = mask;
    seen.look.lesion = atNetwork;
    const lesion = this.measured(mask, smaller, meanInside(seen.probability, atNetwork));
    const measures = measureQuality(seen.look, numbers);
    const warned = warnings(measures, seen.look, lesion.touches_frame, numbers.quality);
    return { ...seen.analysis, lesion, quality: { ...measures, warnings: [CORRECTED, ...warned] } };
  }

  /** The lesion at the picture's own size, 0 or 1; null where none was found. */
  get mask(): Plane | null {
    return this.seen?.mask ?? null;
  }

  private async atSize(probability: Plane, width: number, height: number): Promise<Plane> {
    const given = bytes(probability.data, 1, 1, probability.height, probability.width);
    const { mask } = await this.networks.run("mask", { probability: given, size: whole(height, width) });
    return { data: mask.data as Uint8Array, width, height };
  }

  private async asked(squares: Said, picture: Picture, analysis: Analysis, lap: (name: string) => void): Promise<[Plane, Plane]> {
    const { run, manifest } = this.networks;
    const size = whole(picture.height, picture.width);
    const first = await run("symmetry", { image: squares.symmetry });
    const symmetry = await run("symmetry-decision", { logits: first.logits });
    const symmetryMap = plane((await run("symmetry-map", { activation: first.activation, picture: size })).laid);
    analysis.symmetry = saidSymmetry(symmetry, manifest.symmetry);
    lap("symmetry");
    const second = await run("lesion", { image: squares.lesion, symmetry_activation: clipped(first.activation) });
    const decided = await run("lesion-decision", { logits: second.logits, unlikeness: second.unlikeness });
    const classMap = plane((await run("lesion-map", { activation: second.activation, picture: size })).laid);
    analysis.diagnosis = saidClass(decided, manifest);
    lap("class");
    return [symmetryMap, classMap];
  }

  private measured(mask: Plane, smaller: Plane, confidence: number): Lesion {
    const { manifest } = this.networks;
    const { numbers } = manifest;
    const { look } = this.seen!;
    const box = boundingBox(mask);
    const [right, bottom] = [box.left + box.width, box.top + box.height];
    const scale = smaller.width === mask.width ? 1 : numbers.shape_side / Math.max(mask.width, mask.height);
    const shape = measureShape(smaller, numbers.abcd);
    const pixels = coloursInside(look, look.lesion!, numbers.abcd.max_colour_pixels);
    const size = count(mask);
    return {
      mask: null,
      overlay: null,
      box: [box.left, box.top, right, bottom],
      area: size,
      area_share: rounded(size / mask.data.length, 6),
      touches_frame: !box.left || !box.top || right === mask.width || bottom === mask.height,
      confidence: rounded(Math.min(1, confidence), 4),
      asymmetry: shape.asymmetry,
      border: { ...shape.border, perimeter: rounded(shape.border.perimeter / scale, 2) },
      colours: measureColours(pixels, manifest.colours.lesion, numbers.abcd),
      diameter: rounded(shape.diameter / scale, 2),
      diameter_mm: null,
      area_mm2: null,
    };
  }

  private empty(file: string, picture: Picture): Analysis {
    return {
      file,
      status: "no_lesion",
      error: null,
      width: picture.fullWidth,
      height: picture.fullHeight,
      lesion: null,
      symmetry: null,
      diagnosis: null,
      quality: null,
      model: null,
      symmetry_model: null,
      class_model: null,
      times_ms: {},
      cutis: this.networks.manifest.cutis,
    };
  }
}

function stopwatch(): { laps: Record<string, number>; lap: (name: string) => void } {
  const laps: Record<string, number> = {};
  let last = performance.now();
  const lap = (name: string) => {
    const now = performance.now();
    laps[name] = rounded(now - last, 3);
    last = now;
  };
  return { laps, lap };
}

function meanInside({ data }: Plane<Float32Array>, mask: Plane): number {
  let [sum, inside] = [0, 0];
  mask.data.forEach((value, k) => {
    if (!value) return;
    sum += data[k];
    inside++;
  });
  return inside ? sum / inside : 0;
}

function scaled({ width, height }: Plane, scale: number): [number, number] {
  return [Math.max(1, rint(width * scale)), Math.max(1, rint(height * scale))];
}

/** The outline to be seen and corrected: smooth, in pixels of the full picture. */
function displayed(smaller: Plane, full: Plane): Point[] {
  const [sx, sy] = [full.width / smaller.width, full.height / smaller.height];
  return smoothed(largestOutline(smaller), 2).map(([x, y]) => [(x + 0.5) * sx, (y + 0.5) * sy]);
}

function coloursInside({ rgb }: Look, lesion: Plane, most: number): Triple[] {
  const inside: number[] = [];
  lesion.data.forEach((value, k) => value && inside.push(k));
  const step = 1 + Math.floor(inside.length / most);
  return inside.filter((_, k) => k % step === 0).map((k) => [rgb[3 * k], rgb[3 * k + 1], rgb[3 * k + 2]]);
}

function clipped(activation: Said[string]) {
  const data = activation.data as Float32Array;
  for (let k = 0; k < data.length; k++) data[k] = Math.min(1, Math.max(0, data[k]));
  return activation;
}

type Said = Awaited<ReturnType<Networks["run"]>>;

const plane = (laid: Said[string]): Plane => ({ data: laid.data as Uint8Array, width: laid.dims[1], height: laid.dims[0] });
const numbersOf = (tensor: Said[string]) => Array.from(tensor.data as ArrayLike<number | bigint>, Number);

function saidSymmetry(said: Said, { classes, threshold }: { classes: string[]; threshold: number | null }): Symmetry {
  const p = numbersOf(said.probabilities);
  const [answer] = numbersOf(said.answer);
  return {
    label: classes[answer],
    probability: p[answer],
    probabilities: Object.fromEntries(classes.map((name, k) => [name, p[k]])),
    threshold,
    activation_map: null,
  };
}

function saidClass(said: Said, { lesion, words }: Networks["manifest"]): Diagnosis {
  const p = numbersOf(said.probabilities);
  const fits = numbersOf(said.fits);
  const fitting = numbersOf(said.ranked).filter((k) => fits[k]).map((k) => lesion.classes[k]);
  const flag = (name: string) => numbersOf(said[name])[0] === 1;
  const reasons: string[] = [];
  if (flag("too_few")) reasons.push("no class fits");
  if (flag("too_many")) reasons.push(several(fitting.map((label) => words.classes[label] ?? label)));
  if (flag("unlike")) reasons.push("unlike the images it was trained on");
  return {
    label: reasons.length ? null : fitting[0],
    probabilities: Object.fromEntries(lesion.classes.map((name, k) => [name, p[k]])),
    prediction_set: fitting,
    coverage: lesion.coverage,
    unlikeness: numbersOf(said.distance)[0],
    unlikeness_limit: lesion.unlikeness_limit,
    reasons,
    activation_map: null,
  };
}

function several(names: string[]): string {
  const number = ["two", "three", "four", "five", "six", "seven", "eight", "nine"][names.length - 2] ?? names.length;
  return `${number} classes fit: ${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}
