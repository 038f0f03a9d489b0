// The picture of a result: as photographed with its outline, or with one of the maps faded over it.

import { byId, drawing, element, hex } from "./dom";
import type { Manifest } from "./manifest";
import type { Found } from "./messages";
import { Outline } from "./outline";
import { mapped, photograph } from "./paint";
import type { Plane } from "./plane";
import type { Point } from "./contour";

type View = "outline" | "symmetry" | "class";

const NAMES: Record<View, string> = { outline: "Outline", symmetry: "Symmetry map", class: "Class map" };

export interface Stage {
  photo: HTMLCanvasElement;
  outline: Outline | null;
}

/** Fill the page's picture side; `corrected` hears outlines as they are dragged. */
export function show(found: Found, manifest: Manifest, corrected: (points: Point[]) => void, reset: () => void): Stage {
  const { picture, analysis } = found;
  const photo = element("canvas", { class: "photo", role: "img", "aria-label": `${analysis.file}, as photographed` });
  photograph(photo, picture);
  const outline = analysis.lesion ? new Outline(found.outline, picture.fullWidth, picture.fullHeight, corrected) : null;
  const frame = element("div", { class: "frame" }, photo);
  const maps = { symmetry: found.symmetryMap, class: found.classMap };
  const layers = Object.entries(maps).flatMap(([name, map]) => (map ? [layer(name, photo, map, manifest)] : []));
  frame.append(...layers.map(({ canvas }) => canvas));
  if (outline) frame.append(outline.svg, outline.handles);
  const captions = layers.map(({ caption }) => caption);
  byId("stage").replaceChildren(frame, element("figcaption", { class: "paper" }, ...captions));
  controls(frame, layers.map(({ name }) => name as View), outline, manifest, reset);
  return { photo, outline };
}

function layer(name: string, photo: HTMLCanvasElement, map: Plane, manifest: Manifest) {
  const what = `Where the ${name} network looked`;
  const canvas = element("canvas", { class: `map ${name}`, role: "img", "aria-label": what });
  mapped(canvas, photo, map, manifest);
  const copy = element("canvas", { role: "img", "aria-label": what });
  mapped(copy, photo, map, manifest);
  return { name, canvas, caption: element("span", {}, copy, what) };
}

function controls(frame: HTMLElement, maps: View[], outline: Outline | null, manifest: Manifest, reset: () => void): void {
  const views = byId("views");
  const tools = byId("tools");
  views.replaceChildren();
  tools.replaceChildren();
  views.hidden = !maps.length;
  if (!outline) return;
  const slider = element("input", { type: "range", id: "strength", min: "0", max: "100", value: "80" });
  const fade = element(
    "div",
    { class: "fade" },
    element("label", { for: "strength" }, "Picture"),
    slider,
    element("span", { "aria-hidden": "true" }, "Map"),
    scale(manifest),
  );
  slider.setAttribute("aria-label", "How much of the map is seen over the picture");
  const undo = element("button", { type: "button", id: "reset" }, "Undo my changes");
  undo.addEventListener("click", reset);
  undo.hidden = true;
  const hint = element("p", { class: "small" }, "Drag a corner to correct the outline; the measures follow.");
  const mend = element("div", { class: "mend" }, hint, undo);
  const look = (view: View) => {
    frame.dataset.view = view;
    for (const map of frame.querySelectorAll<HTMLElement>(".map")) {
      map.style.opacity = map.classList.contains(view) ? String(Number(slider.value) / 100) : "0";
    }
    outline.handles.hidden = view !== "outline";
    fade.hidden = view === "outline";
    mend.hidden = view !== "outline";
  };
  slider.addEventListener("input", () => look(frame.dataset.view as View));
  for (const view of ["outline", ...maps] as View[]) {
    const radio = element("input", { type: "radio", name: "view", value: view });
    radio.checked = view === "outline";
    radio.addEventListener("change", () => look(view));
    views.append(element("label", {}, radio, element("span", {}, NAMES[view])));
  }
  tools.append(fade, mend);
  look("outline");
}

/** The colours of a map from least to most. */
function scale(manifest: Manifest): Node {
  const bar = drawing("svg", { class: "bar", viewBox: "0 0 192 12", preserveAspectRatio: "none", "aria-hidden": "true" });
  for (let k = 0; k < 32; k++) {
    const fill = hex(manifest.colours.map[Math.round((255 * k) / 31)]);
    bar.append(drawing("rect", { x: 6 * k, width: 6.5, height: 12, fill }));
  }
  return element("span", { class: "scale" }, "least", bar, "most");
}
