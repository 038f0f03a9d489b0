// Keeps every file of the page at the first visit, each held against its hash, and answers from there: afterwards the
// page works without a network, and a changed server is noticed. VERSION and FILES are put before this by the build.

const CACHE = `cutis-${VERSION}`;

self.addEventListener("install", (event) => event.waitUntil(keepAll()));
self.addEventListener("activate", (event) => event.waitUntil(dropOld()));
self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});

async function keepAll() {
  const cache = await caches.open(CACHE);
  await Promise.all(FILES.map(([name, hash]) => keep(cache, name, hash)));
  await self.skipWaiting();
}

async function keep(cache, name, hash) {
  const url = new URL(name, self.registration.scope);
  const earlier = await caches.match(url);
  const kept = earlier && (await sha256(earlier.clone())) === hash;
  // Hashed names never change, so the browser's own cache, filled a moment ago, is good enough for them.
  const found = kept ? earlier : await fetch(url, { cache: /-[\w-]{8}\./.test(name) ? "default" : "no-cache" });
  if (!found.ok || (await sha256(found.clone())) !== hash) throw new Error(`${name} is not the file that was built`);
  await cache.put(url, found);
}

async function sha256(response) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await response.arrayBuffer()));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function dropOld() {
  const scope = await caches.open(CACHE);
  if ((await scope.keys()).length) {
    const names = await caches.keys();
    await Promise.all(names.filter((name) => name.startsWith("cutis-") && name !== CACHE).map((name) => caches.delete(name)));
  }
  await self.clients.claim();
}

async function answer(request) {
  const cache = await caches.open(CACHE);
  const url = new URL(request.url);
  const wanted = url.pathname.endsWith("/") ? new URL("index.html", url) : url;
  return (await cache.match(wanted, { ignoreSearch: true })) ?? fetch(request);
}
