// The outline on the picture, with corners to take hold of: by pointer, or by keyboard with the arrow keys.

import type { Point } from "./contour";
import { drawing, element } from "./dom";

const HANDLES = 12;
const KEYS: Record<string, Point> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** `changed` hears each new outline; points are pixels of the full picture. */
export class Outline {
  readonly svg: SVGSVGElement;
  readonly handles: HTMLElement;
  private readonly casing = drawing("polygon", { class: "casing" });
  private readonly line = drawing("polygon", { class: "line" });
  private places: number[] = []; // of the handles, along the points

  constructor(
    private points: Point[],
    private readonly width: number,
    private readonly height: number,
    private readonly changed: (points: Point[]) => void,
  ) {
    const label = "The lesion's outline";
    this.svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, class: "outline", role: "img", "aria-label": label });
    this.svg.append(this.casing, this.line);
    this.handles = element("div", { class: "handles", role: "group", "aria-label": "Corners of the outline" });
    const count = Math.min(HANDLES, points.length);
    this.places = Array.from({ length: count }, (_, k) => Math.round((k * points.length) / count));
    this.places.forEach((place, k) => this.handles.append(this.handle(place, k, count)));
    this.draw();
  }

  get current(): Point[] {
    return this.points;
  }

  set(points: Point[]): void {
    this.points = points;
    this.draw();
  }

  private handle(place: number, k: number, count: number): HTMLElement {
    const button = element("button", {
      type: "button",
      class: "handle",
      "aria-label": `Corner ${k + 1} of ${count}: move it with the arrow keys, with Shift farther`,
    });
    let start: Point[] | null = null;
    let grabbed: Point = [0, 0];
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      button.focus();
      event.preventDefault();
      start = this.points;
      grabbed = this.at(event);
    });
    button.addEventListener("pointermove", (event) => {
      if (!start) return;
      const [x, y] = this.at(event);
      this.move(start, place, x - grabbed[0], y - grabbed[1]);
    });
    for (const end of ["pointerup", "pointercancel"]) button.addEventListener(end, () => (start = null));
    button.addEventListener("keydown", (event) => {
      const direction = KEYS[event.key];
      if (!direction) return;
      event.preventDefault();
      const step = (Math.max(this.width, this.height) / 400) * (event.shiftKey ? 10 : 1);
      this.move(this.points, place, direction[0] * step, direction[1] * step);
    });
    return button;
  }

  private at(event: PointerEvent): Point {
    const box = this.svg.getBoundingClientRect();
    return [((event.clientX - box.left) * this.width) / box.width, ((event.clientY - box.top) * this.height) / box.height];
  }

  /** The point at `place` goes all the way, its neighbours less and less, those at the next handles not at all. */
  private move(from: Point[], place: number, dx: number, dy: number): void {
    const n = from.length;
    const reach = n / this.places.length;
    this.points = from.map(([x, y], k) => {
      const away = Math.min((k - place + n) % n, (place - k + n) % n) / reach;
      const share = away < 1 ? (1 + Math.cos(Math.PI * away)) / 2 : 0;
      const clamp = (value: number, most: number) => Math.min(most, Math.max(0, value));
      return [clamp(x + share * dx, this.width), clamp(y + share * dy, this.height)];
    });
    this.draw();
    this.changed(this.points);
  }

  private draw(): void {
    const points = this.points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    for (const polygon of [this.casing, this.line]) polygon.setAttribute("points", points);
    [...this.handles.children].forEach((handle, k) => {
      const [x, y] = this.points[this.places[k]];
      (handle as HTMLElement).style.left = `${(100 * x) / this.width}%`;
      (handle as HTMLElement).style.top = `${(100 * y) / this.height}%`;
    });
  }
}
