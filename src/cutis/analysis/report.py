"""report.html: one page that opens offline, with every image of a run, what was found, and what failed.

The page needs nothing but itself: pictures are small JPEGs inside it, its style is inside it, it has no script, and a
content security policy forbids everything else. Names of files come from strangers: all text is escaped.

Cards are written to a temporary file as results come, so the page of 1,000 images takes no more memory than that of
one."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
from collections import Counter
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from cutis import __version__
from cutis.analysis import words
from cutis.analysis.abcd import COLOURS
from cutis.analysis.overlay import colour_scale
from cutis.files import atomic_path
from cutis.records import Analysis, Colour, Diagnosis, Lesion, ModelInfo, Quality

__all__ = ["Pictures", "Report"]

_STYLE = "report.css"


class Pictures(NamedTuple):
    """JPEGs of one image: with the outline, and with each network's map over that."""

    outlined: bytes | None = None
    symmetry: bytes | None = None
    diagnosis: bytes | None = None


class Report:
    """A report being written: `add` each image in turn; leaving the block writes the page, even of an interrupted
    run."""

    def __init__(self, path: Path, total: int) -> None:
        self._path, self._total = path, total
        self._counts: Counter[str] = Counter()
        self._failed: list[Analysis] = []
        self._cards = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed in __exit__

    def add(self, analysis: Analysis, pictures: Pictures) -> None:
        """One image, with its pictures."""
        self._counts[analysis.status] += 1
        self._counts["warned"] += bool(analysis.quality and analysis.quality.warnings)
        self._counts["networks"] += bool(analysis.symmetry or analysis.diagnosis)
        if analysis.diagnosis:
            self._counts["classed"] += 1
            self._counts["not sure"] += analysis.diagnosis.label is None
        if analysis.status == "failed":
            self._failed.append(analysis)
        else:
            number = self._counts["lesion"] + self._counts["no_lesion"]
            self._cards.write(_card(analysis, pictures, number).encode())

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._cards:
            if kind is not None and issubclass(kind, OSError):
                return  # the disk is full: a page would not fit either
            self._cards.seek(0)
            with atomic_path(self._path) as temporary, temporary.open("wb") as page:
                page.write(self._head().encode())
                shutil.copyfileobj(self._cards, page)
                page.write(_tail(bool(self._counts["networks"])).encode())

    def _head(self) -> str:
        style = (resources.files("cutis.analysis") / _STYLE).read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>cutis report: {_images(self._total)}</title>
<style>{style}</style>
</head>
<body>
<header>
<p class="brand">cutis</p>
<h1>Skin lesion analysis</h1>
<p class="notice" role="note"><strong>{words.RESEARCH_ONLY}</strong> These are measurements of pictures. They do not say
whether a lesion is harmless; only a physician can.</p>
{self._summary()}
</header>
<main>
{self._filters()}
{self._failures()}
<div class="cards">
"""

    def _summary(self) -> str:
        done = sum(self._counts[status] for status in ("lesion", "no_lesion", "failed"))
        figures = [
            (self._counts["lesion"], "with a lesion"),
            (self._counts["no_lesion"], "without a lesion"),
            (self._counts["warned"], "with warnings"),
            (self._counts["failed"], "not analysed"),
        ]
        if self._counts["classed"]:
            figures.insert(2, (self._counts["not sure"], "class not sure"))
        items = "".join(f"<div><dt>{label}</dt><dd>{number}</dd></div>" for number, label in figures)
        part = (
            "" if done == self._total else f'<p class="part">Interrupted: {done} of {_images(self._total)} so far.</p>'
        )
        return f'<dl class="figures"><div><dt>images</dt><dd>{done}</dd></div>{items}</dl>{part}'

    def _filters(self) -> str:
        """Radio buttons that CSS alone acts on; only for a page long enough to need them."""
        kinds = [
            ("all", "All", self._counts["lesion"] + self._counts["no_lesion"]),
            ("lesion", "Lesion", self._counts["lesion"]),
            ("no_lesion", "No lesion", self._counts["no_lesion"]),
            ("warned", "Warnings", self._counts["warned"]),
        ]
        if kinds[0][2] < 4:
            return ""
        buttons = "".join(
            f'<label><input type="radio" name="show" id="show-{kind}"{" checked" * (kind == "all")}>'
            f"<span>{label} <b>{number}</b></span></label>"
            for kind, label, number in kinds
        )
        return f'<fieldset class="filters"><legend>Show</legend>{buttons}</fieldset>'

    def _failures(self) -> str:
        if not self._failed:
            return ""
        rows = "".join(
            f"<li><b>{escape(analysis.file)}</b><span>{escape(_without_name(analysis))}</span></li>"
            for analysis in self._failed
        )
        return f'<section class="failed"><h2>Not analysed</h2><ul>{rows}</ul></section>'


_NETWORKS_GUIDE = """
<dt>Symmetry</dt><dd>A network's answer about shape, colour and structure together; the measured asymmetry is of shape
alone. The answer of this network goes into that about the class.</dd>
<dt>Class</dt><dd>What the lesion is most like, of the classes that the network knows; it has no others to choose from.
The probabilities are calibrated on lesions of the data it was trained on, and other cameras and other skin can make
them wrong. It is not sure where several classes fit, where none does, and where the picture is unlike those.</dd>
<dt>Maps</dt><dd>How much each place of the picture spoke for the network's answer (Grad-CAM++), blue least and yellow
most. A map shows where a network looked, not where a disease is.</dd>"""


def _tail(networks: bool) -> str:
    return f"""</div>
<section class="guide">
<h2>How to read the measures</h2>
<dl>
<dt>Asymmetry</dt><dd>The share of the lesion that its mirror image does not cover, about the long and the short axis of
its shape. An axis counts as asymmetric above 10%. Colour and structure are not part of it.</dd>
<dt>Border</dt><dd>Perimeter² / (4π area): 1 for a disc, more the more the outline winds. Of lesions drawn by experts
half lie below about 1.2 and nine in ten below about 1.6.</dd>
<dt>Colours</dt><dd>The share of the lesion nearest to each of the six colours of the ABCD rule. It depends on the lamp,
the camera and the skin; white and red are not recognised reliably.</dd>
<dt>Diameter</dt><dd>The longest extent, in millimetres only where the scale of the picture is known.</dd>
<dt>Certainty</dt><dd>The mean probability the network gives to the pixels it marked; not the probability of a
disease.</dd>{_NETWORKS_GUIDE if networks else ""}
</dl>
</section>
</main>
<footer>
<p>Made by cutis {escape(__version__)} on this device; no picture has left it. {words.RESEARCH_ONLY}</p>
</footer>
</body>
</html>
"""


def _card(analysis: Analysis, pictures: Pictures, number: int) -> str:
    warned = bool(analysis.quality and analysis.quality.warnings)
    classes = f"card {analysis.status}{' warned' * warned}"
    return f"""<article class="{classes}" aria-labelledby="i{number}">
<div class="seen">
{_figure(analysis, pictures.outlined)}
{_maps(analysis, pictures)}
</div>
<div class="said">
{_name(analysis.file, number)}
<p class="answer"><strong>{words.title(analysis)}.</strong> {escape(words.answer(analysis))}</p>
{_warnings(analysis.quality)}
{_measures(analysis.lesion)}
{_networks(analysis)}
{_small_print(analysis)}
</div>
</article>
"""


def _name(file: str, number: int) -> str:
    """The file's name, and before it, smaller, the folder."""
    folder, slash, name = file.replace("\\", "/").rpartition("/")
    shown = f"<small>{escape(folder + slash)}</small>" if folder else ""
    return f'<h2 id="i{number}">{shown}{escape(name)}</h2>'


def _figure(analysis: Analysis, thumbnail: bytes | None) -> str:
    if thumbnail is None:
        return '<figure class="missing"><p>The overlay of this image is gone.</p></figure>'
    name = escape(analysis.file)
    drawn = f"{name} with the lesion outlined" if analysis.lesion else name
    data = base64.b64encode(thumbnail).decode()
    return f'<figure><img src="data:image/jpeg;base64,{data}" alt="{drawn}" loading="lazy" decoding="async"></figure>'


def _maps(analysis: Analysis, pictures: Pictures) -> str:
    """Both maps over the picture, side by side, with the scale of their colours."""
    name = escape(analysis.file)
    shown = [
        (pictures.symmetry if analysis.symmetry else None, "symmetry"),
        (pictures.diagnosis if analysis.diagnosis else None, "class"),
    ]
    figures = "".join(
        f'<figure><img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" '
        f'alt="{name} with the map of the {network} network" loading="lazy" decoding="async">'
        f"<figcaption>Where the {network} network looked</figcaption></figure>"
        for jpeg, network in shown
        if jpeg
    )
    return f'<div class="maps">{figures}</div>{_scale()}' if figures else ""


@cache
def _scale() -> str:
    """The colours of a map from least to most."""
    colours = colour_scale(32)
    bars = "".join(
        f'<rect x="{6 * k}" width="6.5" height="12" fill="#{r:02x}{g:02x}{b:02x}"/>'
        for k, (r, g, b) in enumerate(colours)
    )
    svg = f'<svg class="bar" viewBox="0 0 192 12" preserveAspectRatio="none" aria-hidden="true">{bars}</svg>'
    return f'<p class="scale"><span>least</span>{svg}<span>most</span></p>'


def _warnings(quality: Quality | None) -> str:
    if not quality or not quality.warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in quality.warnings)
    return f'<ul class="warnings" aria-label="Warnings about the picture">{items}</ul>'


def _measures(lesion: Lesion | None) -> str:
    if lesion is None:
        return ""
    turn = lesion.asymmetry
    area = f"{lesion.area_mm2:.1f} mm²" if lesion.area_mm2 is not None else f"{lesion.area:,} pixels"
    pixels = f"{lesion.diameter:.0f} pixels" if lesion.diameter_mm is not None else "scale of the picture not known"
    rows = [
        (
            "Asymmetry",
            ("none", "one axis", "both axes")[turn.asymmetric_axes],
            f"long axis {turn.major_axis:.0%}, short axis {turn.minor_axis:.0%}",
        ),
        ("Border", words.border(lesion.border), f"irregularity {lesion.border.irregularity:.2f}"),
        ("Colours", _count(lesion.colours), _swatches(lesion.colours)),
        ("Diameter", words.extent(lesion), pixels),
        ("Area", area, f"{lesion.area_share:.1%} of the picture"),
        ("Certainty", f"{lesion.confidence:.0%}", "mean probability inside the outline"),
    ]
    body = "".join(f'<tr><th scope="row">{name}</th><td>{main}</td><td>{more}</td></tr>' for name, main, more in rows)
    return f'<table class="measures"><tbody>{body}</tbody></table>'


def _count(colours: list[Colour]) -> str:
    return "1 colour" if len(colours) == 1 else f"{len(colours)} colours"


def _swatches(colours: list[Colour]) -> str:
    """A bar of the colours' shares and their names; SVG attributes, since the policy allows no style attribute."""
    bars, labels, x = [], [], 0.0
    whole = sum(colour.share for colour in colours) or 1.0
    for colour in colours:
        fill = "#{:02x}{:02x}{:02x}".format(*COLOURS[colour.name])
        width = 200 * colour.share / whole
        bars.append(f'<rect x="{x:.1f}" width="{width:.1f}" height="12" fill="{fill}"/>')
        circle = f'<circle cx="5" cy="5" r="4.5" fill="{fill}"/>'
        dot = f'<svg class="dot" viewBox="0 0 10 10" aria-hidden="true">{circle}</svg>'
        labels.append(f"<span>{dot}{colour.name} {colour.share:.0%}</span>")
        x += width
    svg = f'<svg class="bar" viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true">{"".join(bars)}</svg>'
    return f'{svg}<span class="names">{"".join(labels)}</span>'


def _networks(analysis: Analysis) -> str:
    """What the cascade answered, in plain words, and that it is no diagnosis."""
    symmetry, found = analysis.symmetry, analysis.diagnosis
    if symmetry is None and found is None:
        return ""
    said = [f"<dt>Symmetry</dt><dd>{escape(words.symmetry(symmetry))}</dd>"] if symmetry else []
    if found:
        unsure = ' class="unsure"' if found.label is None else ""
        said.append(f"<dt>Class</dt><dd{unsure}>{escape(words.diagnosis(found))}</dd>")
    return f"""<section class="networks">
<h3>What the networks say</h3>
<dl>{"".join(said)}</dl>
{_classes(found)}
<p class="never">{words.NEVER}</p>
</section>"""


def _classes(found: Diagnosis | None) -> str:
    """A bar a class, likeliest first; those that fit are marked by more than colour."""
    if found is None:
        return ""
    ranked = sorted(found.probabilities.items(), key=lambda item: -item[1])
    rows = "".join(_class_row(name, p, name in found.prediction_set) for name, p in ranked)
    coverage = f" For {found.coverage:.0%} of lesions the right class is among those." if found.coverage else ""
    fitting = len(found.prediction_set)
    note = f"✓ marks the {'class' if fitting == 1 else f'{fitting} classes'} that fit." if fitting else "No class fits."
    return f'<table class="classes"><caption>{note}{coverage if fitting else ""}</caption><tbody>{rows}</tbody></table>'


def _class_row(label: str, p: float, fits: bool) -> str:
    width = f"{100 * p:.1f}"
    svg = (
        '<svg class="probability" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="8"/><rect class="level" width="{width}" height="8"/></svg>'
    )
    mark = '<b title="fits">✓</b>' if fits else ""
    row = ' class="fits"' if fits else ""
    return (
        f'<tr{row}><td class="mark">{mark}</td><th scope="row">{escape(words.class_name(label))}</th>'
        f"<td>{svg}</td><td>{words.probability(p)}</td></tr>"
    )


def _small_print(analysis: Analysis) -> str:
    total = sum(ms for step, ms in analysis.times_ms.items() if step != "write")
    facts = [f"{analysis.width} × {analysis.height} pixels"]
    facts += [_model(info) for info in (analysis.model, analysis.symmetry_model, analysis.class_model) if info]
    facts.append(f"{total:.0f} ms")
    return f'<p class="small">{" · ".join(facts)}</p>'


def _model(info: ModelInfo) -> str:
    hashed = f'<span title="SHA-256 {escape(info.sha256)}">{escape(info.sha256[:8])}</span>'
    return f"{escape(info.name)} {escape(info.version)}, {info.precision} ({hashed})"


def _without_name(analysis: Analysis) -> str:
    """The reason alone: the name stands beside it."""
    said = analysis.error or "unknown"
    return said.removeprefix(analysis.file).lstrip(": ") or said


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
