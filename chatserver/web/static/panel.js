// The panel beside the chat: opens and closes, follows the branch, and lets the map be walked by arrow keys.

import { $, $$, conversation, narrow, reach, store } from "./app.js"

const panel = () => $("#panel")
const opener = () => $("#open-panel")
const isOpen = () => panel() && !panel().hidden
let goal = ""
let timer = 0

const address = () => {
  const tip = $("#where [name=parent_id]")?.value
  if (!conversation() || !tip) return ""
  const follow = $("[data-follow]", panel())?.dataset.follow // the tab of a plugin
  return follow ? follow.replace("CONVERSATION", conversation()).replace("TIP", tip) : `/c/${conversation()}/${tip}/map`
}

// its style sheets come with its first opening
async function dress() {
  const wanted = panel().dataset.sheets
  if (!wanted) return
  delete panel().dataset.sheets
  await Promise.all(wanted.split(" ").map((href) => new Promise((done) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href, onload: done, onerror: done })
    document.head.append(link)
  })))
}

// what comes with a style sheet of its own is not shown before that is here, and brings it once
let clothed = null
function clothe() {
  const links = $$("link[rel=stylesheet]", panel())
  const wanted = links.filter(({ href }) => ![...document.head.querySelectorAll("link")].some((known) => known.href === href && known.sheet))
  for (const link of links) link.remove()
  if (!wanted.length) return
  const card = panel().firstElementChild
  card.hidden = true
  clothed = Promise.all(wanted.map((link) => new Promise((done) => {
    link.onload = link.onerror = done
    document.head.append(link)
  }))).then(() => { card.hidden = false })
}

async function load(focus, href = address()) {
  if (!href) return close()
  await dress()
  panel().hidden = false
  document.documentElement.dataset.panel = "open"
  opener()?.setAttribute("aria-pressed", "true")
  htmx.ajax("GET", href, { source: panel(), target: "#panel", swap: "innerHTML", headers: { "HX-Target": "aside#panel" } }).then(async () => {
    await clothed
    if (focus) ($(".map-rows [aria-current]", panel()) ?? $("a", panel()))?.focus()
    $(".map-rows .tip", panel())?.scrollIntoView({ block: "nearest" })
  })
}

function close() {
  if (!panel()) return
  const had = panel().contains(document.activeElement)
  panel().hidden = true
  delete document.documentElement.dataset.panel
  opener()?.setAttribute("aria-pressed", "false")
  if (had) opener()?.focus()
}

export function press(element) {
  if (element.href) return load(true, element.getAttribute("href")) // a link that is looked at beside the chat
  const open = element.dataset.does !== "close" && !isOpen()
  store.set("panel", open ? "map" : "")
  open ? load(true) : close()
}

export const open = () => load(false)

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-goes]")
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return
  goal = link.dataset.goes
  if (narrow.matches) close()
})

document.addEventListener("keydown", (event) => {
  if (!isOpen() || !panel().contains(event.target)) return
  if (event.key === "Escape" && !$("#dialog")?.open) { event.preventDefault(); event.stopPropagation(); store.set("panel", ""); return close() }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  if (!step || event.target.matches("input")) return
  const links = $$(".map-rows a, .branches li > a", panel())
  const next = links[links.indexOf(event.target) + step]
  if (!next) return
  event.preventDefault()
  next.focus()
}, true)

document.addEventListener("htmx:after:swap", (event) => {
  const at = event.detail.ctx?.target
  const id = (at?.at ? $(at) : at)?.id
  if (id === "panel") clothe()
  if (id === "view" && goal) setTimeout(reach, 0, goal)
  if (id === "view") goal = ""
  if (!isOpen() || !["view", "main", "thread"].includes(id)) return
  opener()?.setAttribute("aria-pressed", "true")
  clearTimeout(timer)
  timer = setTimeout(load, 120, false)
})
// an answer that has ended shows its figures
document.addEventListener("chat:ended", () => { if (isOpen()) { clearTimeout(timer); timer = setTimeout(load, 200, false) } })
