// What a file is and how large its picture, by its first bytes, before anything is decoded. Plain words for what it is
// not: the browser's decoders say only that they failed.

export interface Header {
  kind: "JPEG" | "PNG" | "BMP" | "WebP";
  width: number;
  height: number;
}

export class BadFile extends Error {}

const GIVE = "give a JPEG, PNG, BMP or WebP file";

/** Raises `BadFile` with one plain sentence for what is no picture that the page reads. */
export function header(content: Uint8Array): Header {
  if (!content.length) throw new BadFile("is empty: copy it again");
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const text = (at: number, length: number) => String.fromCharCode(...content.subarray(at, at + length));
  try {
    if (content[0] === 0xff && content[1] === 0xd8 && content[2] === 0xff) return jpeg(content, view);
    if (text(0, 8) === "\x89PNG\r\n\x1a\n") return png(view, text);
    if (text(0, 4) === "RIFF" && text(8, 4) === "WEBP") return webp(content, view, text);
    if (text(0, 2) === "BM") return { kind: "BMP", ...bmp(view) };
  } catch (error) {
    if (error instanceof RangeError) throw new BadFile("is cut off: copy or save it again");
    throw error;
  }
  if (/^GIF8[79]a/.test(text(0, 6))) throw new BadFile(`is a GIF (256 colours, often animated): ${GIVE}`);
  if (/^(II[*+]\0|MM\0[*+])/.test(text(0, 4))) {
    throw new BadFile(`is a TIFF, which browsers cannot read: ${GIVE}, or use the command line`);
  }
  if (/^ftyp(hei|hev|mif1|msf1|avi)/.test(text(4, 8))) throw new BadFile(`is a HEIF or AVIF picture: ${GIVE}`);
  throw new BadFile(`is not an image file: ${GIVE}`);
}

function jpeg(content: Uint8Array, view: DataView): Header {
  let [at, size] = [2, { width: 0, height: 0 }];
  for (;;) {
    while (view.getUint8(at) === 0xff && view.getUint8(at + 1) === 0xff) at++;
    if (view.getUint8(at) !== 0xff) throw new BadFile("is a damaged JPEG file: save or copy it again");
    const marker = view.getUint8(at + 1);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) size = { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    const next = at + 2 + view.getUint16(at + 2);
    if (marker === 0xda) {
      for (let k = content.length - 2; k >= next; k--) {
        if (content[k] === 0xff && content[k + 1] === 0xd9) return { kind: "JPEG", ...size };
      }
      throw new BadFile("is cut off: copy or save it again");
    }
    at = next;
  }
}

function png(view: DataView, text: (at: number, length: number) => string): Header {
  for (let at = 8; ; at += 12 + view.getUint32(at)) {
    const chunk = text(at + 4, 4);
    if (chunk === "acTL") throw new BadFile("is animated: save one picture of it as a file of its own");
    if (chunk === "IEND") return { kind: "PNG", width: view.getUint32(16), height: view.getUint32(20) };
  }
}

function webp(content: Uint8Array, view: DataView, text: (at: number, length: number) => string): Header {
  if (view.getUint32(4, true) + 8 > content.length) throw new BadFile("is cut off: copy or save it again");
  const chunk = text(12, 4);
  const little24 = (at: number) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
  if (chunk === "VP8X") {
    if (view.getUint8(20) & 2) throw new BadFile("is animated: save one picture of it as a file of its own");
    return { kind: "WebP", width: little24(24) + 1, height: little24(27) + 1 };
  }
  if (chunk === "VP8L") {
    const bits = view.getUint32(21, true);
    return { kind: "WebP", width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 };
  }
  return { kind: "WebP", width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

function bmp(view: DataView): { width: number; height: number } {
  return { width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)) };
}
