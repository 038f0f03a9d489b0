// The page: takes a picture, asks the worker, shows the answer. It measures and decides nothing itself.

import { card } from "./card";
import { AskError, Client } from "./client";
import type { Point } from "./contour";
import { byId, element } from "./dom";
import { intake } from "./intake";
import type { Manifest } from "./manifest";
import type { Found } from "./messages";
import { outlined } from "./paint";
import type { Analysis } from "./record";
import { canvasBlob, download, recordBlob, stem } from "./save";
import { show, type Stage } from "./stage";

interface Shown {
  found: Found;
  stage: Stage;
  analysis: Analysis; // with the measures of the outline as it is now
}

const client = new Client();
const loaded = load();
let shown: Shown | null = null;
let newest = 0; // of the pictures that came

intake(
  (file, name, more) => void analyse(file, name, more),
  (message) => problem(message),
);
if ("serviceWorker" in navigator && import.meta.env.PROD) {
  const offline = navigator.serviceWorker.register(new URL("sw.js", document.baseURI));
  offline.catch(() => {}); // without TLS, or in a private window: the page works, but needs its server
}

async function load(): Promise<Manifest> {
  const bar = byId<HTMLProgressElement>("progress");
  bar.hidden = false;
  const { manifest, threads } = await client.ask({ kind: "load", base: document.baseURI }, (done, of) => {
    bar.value = Math.min(1, done / of);
  });
  bar.hidden = true;
  const models = Object.values(manifest.models).map(({ info }) => `${info.name} ${info.version}`);
  const how = `${threads} ${threads === 1 ? "thread" : "threads"}`;
  byId("made").textContent = `cutis ${manifest.cutis}: ${models.join(", ")}; ${how}`;
  document.documentElement.dataset.ready = "true";
  return manifest;
}

loaded.catch((error: Error) => {
  byId("progress").hidden = true;
  problem(`The page could not load what it needs (${error.message}). Look at the network and load it again.`);
});

async function analyse(file: Blob, name: string, more: number): Promise<void> {
  const number = ++newest;
  byId("problem").hidden = true;
  byId("result").setAttribute("aria-busy", "true");
  status(document.documentElement.dataset.ready ? `Looking at ${name} …` : "Loading the networks …");
  try {
    const manifest = await loaded;
    const found = await client.ask({ kind: "analyse", file, name });
    if (number !== newest) return;
    present(found, manifest);
    status(more ? `Analysed ${name}, the first of ${more + 1} files: give the others one by one.` : "");
  } catch (error) {
    if (number !== newest) return;
    status("");
    const own = error instanceof AskError && error.file;
    problem(own ? `${name} ${error.message}.` : `${name} could not be analysed (${(error as Error).message}).`);
  } finally {
    byId("result").removeAttribute("aria-busy");
  }
}

function present(found: Found, manifest: Manifest): void {
  const stage = show(found, manifest, (points) => correct(points, manifest), () => reset(manifest));
  shown = { found, stage, analysis: found.analysis };
  document.documentElement.dataset.state = "result";
  byId("result").hidden = false;
  fill(manifest);
  byId("result").focus({ preventScroll: true });
  if (innerWidth < 900) byId("result").scrollIntoView({ block: "start" });
}

function fill(manifest: Manifest): void {
  const parts = card(shown!.analysis, manifest);
  byId("card").replaceChildren(...parts.slice(0, -1), scaleField(manifest), actions(manifest), parts[parts.length - 1]);
}

let asking = false;
let waiting: (() => Point[] | null) | null = null;

/** The newest outline is measured (null: the network's own); those in between, while the worker was busy, are not. */
async function correct(points: Point[] | null, manifest: Manifest): Promise<void> {
  waiting = () => points;
  byId("reset").hidden = !points;
  if (asking) return;
  asking = true;
  const subject = shown!;
  byId("card").setAttribute("aria-busy", "true");
  while (waiting && shown === subject) {
    const outline: Point[] | null = waiting();
    waiting = null;
    const analysis = await client.ask({ kind: "correct", outline }).catch(() => null);
    if (analysis && shown === subject) {
      subject.analysis = withScale(analysis, millimetres());
      fill(manifest);
    }
  }
  asking = false;
  byId("card").removeAttribute("aria-busy");
}

function reset(manifest: Manifest): void {
  const { found, stage } = shown!;
  stage.outline!.set(found.outline);
  void correct(null, manifest);
}

let scale = ""; // as typed, millimetres a pixel; kept for the next picture of the same camera

function millimetres(): number | null {
  const value = Number(scale);
  return value > 0 && value < 100 ? value : null;
}

function withScale(analysis: Analysis, mm: number | null): Analysis {
  const { lesion } = analysis;
  if (!lesion) return analysis;
  const known = { diameter_mm: mm && Number((lesion.diameter * mm).toFixed(3)), area_mm2: mm && Number((lesion.area * mm * mm).toFixed(3)) };
  return { ...analysis, lesion: { ...lesion, ...known } };
}

function scaleField(manifest: Manifest): Node {
  if (!shown!.analysis.lesion) return document.createTextNode("");
  const input = element("input", { id: "scale", type: "number", min: "0.0001", max: "99", step: "any", inputmode: "decimal" });
  input.value = scale;
  input.addEventListener("change", () => {
    scale = input.value;
    shown!.analysis = withScale(shown!.analysis, millimetres());
    fill(manifest);
    byId("scale").focus();
  });
  const label = element("label", { for: "scale" }, "Scale, millimetres a pixel");
  return element("p", { class: "scale-field" }, label, input, element("span", { class: "small" }, "where you know it, for example 0.02"));
}

function actions(manifest: Manifest): Node {
  const { found, stage, analysis } = shown!;
  const name = stem(analysis.file);
  const picture = () => outlined(stage.photo, found.picture, stage.outline?.current ?? [], manifest);
  const deeds: [string, string, () => void | Promise<void>][] = [
    ["print", "Print the report", () => print()],
    ["save-record", "Save the record (JSON)", () => download(recordBlob(shown!.analysis), `${name}.json`)],
    ["save-overlay", "Save the picture (PNG)", async () => download(await canvasBlob(picture()), `${name}-overlay.png`)],
  ];
  if (analysis.lesion) {
    deeds.push(["save-mask", "Save the mask (PNG)", async () => {
      const mask = await client.ask({ kind: "mask" });
      if (mask) download(mask, `${name}-mask.png`);
    }]);
  }
  const buttons = deeds.map(([id, label, deed]) => {
    const button = element("button", { type: "button", id }, label);
    button.addEventListener("click", () => {
      void Promise.resolve(deed()).catch((error: Error) => problem(`It could not be saved (${error.message}).`));
    });
    return button;
  });
  return element("div", { class: "actions", role: "group", "aria-label": "Print and save" }, ...buttons);
}

function status(message: string): void {
  byId("status").textContent = message;
}

function problem(message: string): void {
  const place = byId("problem");
  place.textContent = message;
  place.hidden = false;
}
