// Word of an answer that became ready while the page was hidden: a mark in the title, and a notification for who wants
// one. The page's stream is closed while it is hidden, so this asks now and then how the turns stand.

import { $, notice, running, store, words } from "./app.js"

const FIRST_MS = 1000
const LAST_MS = 10_000
const MARK = "● "
let watching = false

const isOn = () => store.get("notify") === "on" && window.Notification?.permission === "granted"

export async function watch() {
  if (watching) return
  watching = true
  try {
    const turns = new Set(running().map((article) => article.dataset.turn))
    let state = ""
    let pause_ms = FIRST_MS
    for (const turn of turns) {
      while (document.hidden && (state = await stateOf(turn)) === "running") {
        await new Promise((go) => setTimeout(go, pause_ms))
        pause_ms = Math.min(LAST_MS, pause_ms * 1.5)
      }
      if (!document.hidden) return
    }
    if (state) tell(state)
  } finally {
    watching = false
  }
}

// "running" also when nobody can be asked: it may be only for a moment
async function stateOf(turn) {
  try {
    const answer = await fetch(`/api/turns/${turn}`)
    if (answer.ok) return (await answer.json()).state
    return answer.status === 404 || answer.status === 401 ? "" : "running"
  } catch { return "running" }
}

function tell(state) {
  const text = state === "done" ? words.answered : state === "stopped" ? words.stopped : words.failed
  if (!document.title.startsWith(MARK)) document.title = MARK + document.title
  if (isOn()) show($("[data-title]")?.textContent.trim() || "chatserver", text)
}

async function show(title, body) {
  const options = { body, tag: location.pathname, icon: $("link[rel=icon]")?.href }
  try {
    const note = new Notification(title, options)
    note.onclick = () => { window.focus(); note.close() }
  } catch { // phones want it from a service worker
    const worker = await navigator.serviceWorker?.getRegistration()
    worker?.showNotification(title, options)
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && document.title.startsWith(MARK)) document.title = document.title.slice(MARK.length)
})

const mark = (button) => button.setAttribute("aria-pressed", isOn())

export const begin = mark

export async function press(button) {
  if (isOn()) store.set("notify", "")
  else if (window.Notification && (await Notification.requestPermission()) === "granted") store.set("notify", "on")
  else notice(words.notifyBlocked, { kind: "warn" })
  mark(button)
}
