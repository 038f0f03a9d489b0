// The card beside the picture: the record in words, bars and a table.

import { drawing, element, hex } from "./dom";
import type { Manifest } from "./manifest";
import type { Analysis, Colour, Diagnosis, Lesion } from "./record";
import * as words from "./words";

/** Everything that is said about one picture, for the screen and for paper. */
export function card(analysis: Analysis, manifest: Manifest): Node[] {
  const parts: Node[] = [
    element("p", { class: "file" }, analysis.file),
    element("h2", { id: "answer", class: analysis.status }, words.title(analysis)),
    element("p", { class: "said" }, words.answer(analysis, manifest)),
  ];
  if (analysis.quality?.warnings.length) parts.push(warnings(analysis.quality.warnings));
  if (analysis.symmetry || analysis.diagnosis) parts.push(networks(analysis, manifest));
  if (analysis.lesion) parts.push(measures(analysis.lesion, manifest));
  parts.push(smallPrint(analysis));
  return parts;
}

function warnings(found: string[]): Node {
  const items = found.map((warning) => element("li", {}, warning));
  return element("ul", { class: "warnings", "aria-label": "Warnings about the picture" }, ...items);
}

function networks({ symmetry, diagnosis }: Analysis, manifest: Manifest): Node {
  const said = element("dl");
  if (symmetry) said.append(element("dt", {}, "Symmetry"), element("dd", {}, words.symmetry(symmetry)));
  if (diagnosis) {
    const sure = diagnosis.label === null ? { class: "unsure" } : undefined;
    said.append(element("dt", {}, "Class"), element("dd", sure, words.diagnosis(diagnosis, manifest)));
  }
  const section = element("section", { class: "networks" }, element("h3", {}, "What the networks say"), said);
  if (diagnosis) section.append(classes(diagnosis, manifest));
  section.append(element("p", { class: "reminder" }, manifest.words.never));
  return section;
}

/** A bar a class, likeliest first; those that fit are marked by more than colour. */
function classes(found: Diagnosis, manifest: Manifest): Node {
  const fitting = found.prediction_set.length;
  const marks = fitting ? `✓ marks the ${fitting === 1 ? "class" : `${fitting} classes`} that fit.` : "No class fits.";
  const coverage = found.coverage ? ` For ${words.percent(found.coverage)} of lesions the right class is among those.` : "";
  const ranked = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]);
  const body = element("tbody");
  for (const [label, p] of ranked) {
    const fits = found.prediction_set.includes(label);
    const bar = drawing("svg", { class: "probability", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" });
    bar.append(
      drawing("rect", { class: "track", width: 100, height: 8 }),
      drawing("rect", { class: "level", width: (100 * p).toFixed(1), height: 8 }),
    );
    const mark = element("td", { class: "mark" });
    if (fits) mark.append(element("span", { "aria-hidden": "true" }, "✓"), element("span", { class: "unseen" }, "fits"));
    body.append(
      element(
        "tr",
        { class: fits ? "fits" : "" },
        mark,
        element("th", { scope: "row" }, words.className(label, manifest)),
        element("td", {}, bar),
        element("td", {}, words.probability(p)),
      ),
    );
  }
  return element("table", { class: "classes" }, element("caption", {}, marks + (fitting ? coverage : "")), body);
}

function measures(lesion: Lesion, manifest: Manifest): Node {
  const turn = lesion.asymmetry;
  const colours = lesion.colours;
  const area = lesion.area_mm2 === null ? `${lesion.area.toLocaleString("en")} pixels` : `${lesion.area_mm2.toFixed(1)} mm²`;
  const pixels = lesion.diameter_mm === null ? "scale of the picture not known" : `${lesion.diameter.toFixed(0)} pixels`;
  const axes = `long axis ${words.percent(turn.major_axis)}, short axis ${words.percent(turn.minor_axis)}`;
  const rows: [string, string, Node | string][] = [
    ["Asymmetry", ["none", "one axis", "both axes"][turn.asymmetric_axes], axes],
    ["Border", words.border(lesion, manifest), `irregularity ${lesion.border.irregularity.toFixed(2)}`],
    ["Colours", colours.length === 1 ? "1 colour" : `${colours.length} colours`, swatches(colours, manifest)],
    ["Diameter", words.extent(lesion), pixels],
    ["Area", area, `${words.percent(lesion.area_share, 1)} of the picture`],
    ["Certainty", words.percent(lesion.confidence), "mean probability inside the outline"],
  ];
  const body = element("tbody");
  for (const [name, main, more] of rows) {
    body.append(element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, main), element("td", {}, more)));
  }
  return element("section", { class: "measures" }, element("h3", {}, "Measures of the outline"), element("table", {}, body));
}

/** A bar of the colours' shares, and their names. */
function swatches(colours: Colour[], manifest: Manifest): Node {
  const bar = drawing("svg", { class: "bar", viewBox: "0 0 200 12", preserveAspectRatio: "none", "aria-hidden": "true" });
  const names = element("span", { class: "names" });
  const all = colours.reduce((sum, { share }) => sum + share, 0) || 1;
  let x = 0;
  for (const { name, share } of colours) {
    const fill = hex(manifest.colours.lesion[name]);
    const width = (200 * share) / all;
    bar.append(drawing("rect", { x: x.toFixed(1), width: width.toFixed(1), height: 12, fill }));
    const dot = drawing("svg", { class: "dot", viewBox: "0 0 10 10", "aria-hidden": "true" });
    dot.append(drawing("circle", { cx: 5, cy: 5, r: 4.5, fill }));
    names.append(element("span", {}, dot, `${name} ${words.percent(share)}`));
    x += width;
  }
  return element("span", {}, bar, names);
}

function smallPrint(analysis: Analysis): Node {
  const total = Object.values(analysis.times_ms).reduce((sum, ms) => sum + ms, 0);
  const models = [analysis.model, analysis.symmetry_model, analysis.class_model]
    .filter((info) => info !== null)
    .map((info) => `${info.name} ${info.version}, ${info.precision} (${info.sha256.slice(0, 8)})`);
  const facts = [`${analysis.width} × ${analysis.height} pixels`, ...models, `${total.toFixed(0)} ms`, `cutis ${analysis.cutis}`];
  return element("p", { class: "small" }, facts.join(" · "));
}
