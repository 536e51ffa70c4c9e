// What one sees of a chat: it follows the end while the reader is there, holds still where they read, and brings older messages.

import { $, csrf } from "./page.js"
import { beginRooms } from "./rooms.js"

let isFollowing = true
let lastTop = 0
let anchor = null
let switching = false // a version was picked: the stored tip moves when its branch is here
let seek = null // sees the link to older messages come near
const NEAR_PX = 72

export function follow(force) {
  const view = $("#view")
  if (!view) return
  if (force) isFollowing = true
  if (isFollowing && !("still" in view.dataset)) view.scrollTop = lastTop = view.scrollHeight
  jumpable(view)
}

const distance = (view) => view.scrollHeight - view.scrollTop - view.clientHeight
const jumpable = (view) => { $("#jump").hidden = isFollowing || distance(view) < NEAR_PX * 3 }

function watch(view) {
  view.addEventListener("scroll", () => {
    if (view.scrollTop < lastTop - 2) isFollowing = false
    if (distance(view) < NEAR_PX) isFollowing = true
    lastTop = view.scrollTop
    jumpable(view)
  }, { passive: true })
  seek?.disconnect()
  seek = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) loadOlder(entry.target)
  }, { root: view, rootMargin: "800px 0px" })
  const older = $("#older", view)
  if (older) seek.observe(older)
}

export async function loadOlder(link) {
  if (link.dataset.loads) return
  link.dataset.loads = "yes"
  try {
    const answer = await fetch(link.href, { headers: { "HX-Request": "true" } })
    if (!answer.ok || !link.isConnected) throw new Error(answer.status)
    const box = document.createElement("template")
    box.innerHTML = await answer.text()
    const [view, thread, next] = [$("#view"), $("#thread"), $("#older", box.content)]
    const [height, top] = [view.scrollHeight, view.scrollTop]
    next?.remove()
    const fresh = [...box.content.children]
    thread.prepend(box.content)
    next ? link.replaceWith(next) : link.remove()
    view.scrollTop = lastTop = top + view.scrollHeight - height
    fresh.forEach((element) => htmx.process(element))
    beginRooms()
    if (next) seek.observe(next)
  } catch {
    delete link.dataset.loads
    seek.unobserve(link) // stays a link to click
  }
}

export async function reach(id) {
  for (let round = 0; round < 12 && !document.getElementById(id) && $("#older"); round++) await loadOlder($("#older"))
  const target = document.getElementById(id)
  if (!target) return
  isFollowing = false
  target.scrollIntoView({ block: target.offsetHeight > innerHeight / 2 ? "start" : "center" })
  target.classList.add("found")
  setTimeout(() => target.classList.remove("found"), 2400)
}

// keep what the reader looks at in its place while the branch below it changes
export function hold(article, isSwitching) {
  switching = isSwitching
  const parent = article?.previousElementSibling ?? null
  anchor = parent?.id ? { id: parent.id, top: parent.getBoundingClientRect().top } : { id: "", top: 0 }
}

export function settleView(view) {
  watch(view)
  const kept = anchor?.id && document.getElementById(anchor.id)
  if (kept) {
    view.scrollTop = kept.getBoundingClientRect().top - anchor.top
    isFollowing = distance(view) < NEAR_PX
  } else if (anchor || "still" in view.dataset) {
    view.scrollTop = 0
    isFollowing = "still" in view.dataset
  } else {
    isFollowing = true
    view.scrollTop = view.scrollHeight
  }
  lastTop = view.scrollTop
  anchor = null
  jumpable(view)
}

// nothing came that could stand where it stood
export const letGo = () => { anchor = null }

export function switched() {
  if (!switching) return
  switching = false
  const { conversation: id, tip } = $("#view").dataset
  if (!id || !tip) return
  const headers = { "X-CSRF": csrf(), "Content-Type": "application/json" }
  fetch(`/api/conversations/${id}`, { method: "PATCH", headers, body: JSON.stringify({ tip }) }).catch(() => {})
}
