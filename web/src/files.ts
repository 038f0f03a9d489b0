// The page's own files: fetched from its own origin, unpacked, and held against the manifest's hashes.

import type { Stored } from "./manifest";

/** The unpacked bytes of a gzipped file; `heard` is told how many packed bytes have come. */
export async function unpacked(url: URL, heard: (bytes: number) => void = () => {}): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch(url);
  if (!answer.ok || !answer.body) throw new Error(`${url.pathname} is missing on the server (${answer.status})`);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    heard(value.length);
  }
  const whole = new Blob(chunks);
  const head = new Uint8Array(await whole.slice(0, 2).arrayBuffer());
  if (head[0] !== 0x1f || head[1] !== 0x8b) return new Uint8Array(await whole.arrayBuffer()); // the server unpacked it
  const stream = whole.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The same, refused where it is not the file of the manifest. Pages without TLS have no means to check. */
export async function checked(stored: Stored, folder: URL, heard: (bytes: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const content = await unpacked(new URL(stored.file, folder), heard);
  if (content.length !== stored.bytes || (globalThis.crypto?.subtle && (await sha256(content)) !== stored.sha256)) {
    throw new Error(`${stored.file} is not the file of the manifest: load the page again`);
  }
  return content;
}

export async function sha256(content: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
