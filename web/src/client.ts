// The page's side of the worker: ask, and be told later.

import type { Ask, Results, Tell } from "./messages";

type Wanted = Ask extends infer One ? (One extends { id: number } ? Omit<One, "id"> : never) : never;

/** `file`: something is wrong with the file, not with the page. */
export class AskError extends Error {
  constructor(message: string, readonly file: boolean) {
    super(message);
  }
}

interface Waiting {
  resolve: (result: never) => void;
  reject: (error: Error) => void;
  progress: (done: number, of: number) => void;
}

export class Client {
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;

  constructor() {
    this.worker.addEventListener("message", ({ data }: MessageEvent<Tell>) => this.told(data));
    this.worker.addEventListener("error", (event) => this.broke(event.message || "the worker could not start"));
  }

  ask<Kind extends keyof Results>(
    wanted: Extract<Wanted, { kind: Kind }>,
    progress: (done: number, of: number) => void = () => {},
  ): Promise<Results[Kind]> {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, progress });
      this.worker.postMessage({ ...wanted, id });
    });
  }

  private told(told: Tell): void {
    const waiting = this.waiting.get(told.id);
    if (!waiting) return;
    if (told.kind === "progress") return waiting.progress(told.done, told.of);
    this.waiting.delete(told.id);
    if (told.kind === "done") waiting.resolve(told.result as never);
    else waiting.reject(new AskError(told.message, told.file));
  }

  private broke(message: string): void {
    for (const { reject } of this.waiting.values()) reject(new AskError(message, false));
    this.waiting.clear();
  }
}
