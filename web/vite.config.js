// One page from src/, into the Python package: with the runtime packed, and a service worker that knows every file.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { defaultClientConditions, defineConfig } from "vite";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = join(here, "../src/cutis/serve/page");
const runtime = readFileSync(join(here, "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"));
const runtimeFile = `assets/runtime-${sha256(runtime).slice(0, 8)}.wasm.gz`;

function sha256(content) {
  return createHash("sha256").update(content).digest("hex");
}

function filesIn(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesIn(path) : [path];
  });
}

/** The WASM of onnxruntime-web, packed, so that a first visit loads a quarter of it from any server. */
const packedRuntime = {
  name: "packed-runtime",
  generateBundle() {
    this.emitFile({ type: "asset", fileName: runtimeFile, source: gzipSync(runtime, { level: 9 }) });
  },
};

/** The packed one is enough. */
const noUnpackedRuntime = {
  name: "no-unpacked-runtime",
  generateBundle(_, bundle) {
    for (const name of Object.keys(bundle)) if (name.endsWith(".wasm")) delete bundle[name];
  },
};

/** The service worker gets the list of files with their hashes; a change of any is a new service worker. */
const listedFiles = {
  name: "listed-files",
  closeBundle() {
    const files = filesIn(out)
      .map((path) => [relative(out, path).split(sep).join("/"), sha256(readFileSync(path))])
      .filter(([name]) => name !== "sw.js")
      .sort();
    const source = readFileSync(join(here, "src/sw.js"), "utf8");
    const version = sha256(JSON.stringify(files)).slice(0, 16);
    writeFileSync(join(out, "sw.js"), `const VERSION = "${version}";\nconst FILES = ${JSON.stringify(files)};\n${source}`);
  },
};

export default defineConfig({
  root: here,
  base: "./",
  define: { __RUNTIME__: JSON.stringify(runtimeFile) },
  build: { outDir: out, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] },
  worker: { format: "es", plugins: () => [noUnpackedRuntime] },
  plugins: [packedRuntime, noUnpackedRuntime, listedFiles],
});
