// Keeps static files, and one page that says so when the server cannot be reached; nothing anybody wrote.
// Served at /sw.js with VERSION and FILES before it: another version is another cache.

const CACHE = `static-${VERSION}`
const OFFLINE = "/offline"

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([OFFLINE, ...FILES])))
  self.skipWaiting()
})

self.addEventListener("activate", (event) => {
  const stale = async () => { for (const name of await caches.keys()) if (name !== CACHE) await caches.delete(name) }
  event.waitUntil(stale())
})

self.addEventListener("fetch", (event) => {
  const { request } = event
  if (request.method !== "GET") return
  if (request.mode === "navigate") event.respondWith(fetch(request).catch(() => caches.match(OFFLINE)))
  else if (new URL(request.url).pathname.startsWith("/static/")) event.respondWith(keep(request))
})

// an address of a static file never changes its meaning
async function keep(request) {
  const kept = await caches.match(request)
  if (kept) return kept
  const answer = await fetch(request)
  if (answer.ok && answer.type === "basic") (await caches.open(CACHE)).put(request, answer.clone())
  return answer
}
