// One stream for all turns this page shows, resumed by cursor.

import { $, $$, conversation, words } from "./page.js"
import { notice, say } from "./notices.js"
import { room } from "./rooms.js"
import { follow } from "./view.js"
import { compose } from "./composer.js"
import { refreshChats } from "./chats.js"

// a title may follow the end of its turn
const LINGER_MS = 25_000
let source = null
let shown = ""
let tries = 0
let retry = 0
const lingering = new Map()

export const running = () => $$("article[aria-busy=true][data-turn]")

export function connect() {
  clearTimeout(retry)
  const turns = new Map(running().map((article) => [article.dataset.turn, article.dataset.seq]))
  for (const [turn, seq] of lingering) if (!turns.has(turn)) turns.set(turn, seq)
  const wanted = document.hidden ? "" : [...turns.keys()].sort().join()
  if (wanted === shown && (source || !wanted)) return
  source?.close()
  source = null
  shown = wanted
  if (!wanted) return
  source = new EventSource(`/events?turns=${[...turns].map(([turn, seq]) => `${turn}:${seq || 0}`).join()}`)
  source.onopen = () => {
    tries = 0
    for (const status of $$("[data-status][data-lost]")) delete status.dataset.lost
  }
  source.onerror = () => again(Math.min(15_000, 500 * 2 ** tries++))
  source.addEventListener("reconnect", () => again(Math.random() * 1000))
  source.addEventListener("fragment", (event) => take(event.data))
}

function again(after) {
  source?.close()
  source = null
  shown = ""
  if (tries > 1) for (const article of running()) $("[data-status]", article).dataset.lost = words.lost
  if (running().length) retry = setTimeout(connect, after)
  else if (lingering.size) {
    lingering.clear()
    if (!$("#find").value && !$("#chats").contains(document.activeElement)) refreshChats() // whatever was not told
  }
}

function take(html) {
  const box = document.createElement("template")
  box.innerHTML = html
  for (const step of [...box.content.children]) apply(step.dataset, step.content)
  follow()
}

function apply({ op, part = "text", turn, reply, seq, conversation: where }, content) {
  if (op === "title") return retitle(where, content.textContent.trim(), turn)
  const article = document.getElementById(`m-${reply}`)
  if (!article || article.dataset.turn !== turn) return
  if (seq) article.dataset.seq = seq
  if (op === "end") return finish(article, content)
  if (op === "status") return $("[data-status]", article).replaceChildren(content)
  const box = $(`[data-part=${part}]`, article)
  const [done, open] = [$("[data-done]", box), $("[data-open]", box)]
  if (op === "append") done.append(content)
  else if (op === "open") open.replaceChildren(content)
  else if (op === "more") ($("[data-tail]", open) ?? open).append(content)
  else if (op === "reset") {
    if (content.querySelector("[data-done]")) done.parentElement.replaceChildren(content)
    else { done.replaceChildren(content); open.replaceChildren() }
  }
  arrived(article, part)
}

function arrived(article, part) {
  const now = performance.now()
  if (part === "reasoning" && !article.classList.contains("has-text")) {
    article.thoughtAt ??= now
    $("[data-part=reasoning]", article).hidden = !$("[data-part=reasoning]", article).textContent.trim()
  } else if (part === "text" && !article.classList.contains("has-text") && $("[data-part=text]", article).textContent) {
    article.classList.add("has-text")
    $("[data-status]", article).classList.remove("slow")
    $(".late", article)?.remove()
    const spent = Math.round((now - article.thoughtAt) / 1000)
    if (spent > 0) $("[data-thought]", article).textContent = words.thought.replace("{seconds}", spent)
  }
}

function finish(article, content) {
  const { turn, seq } = article.dataset
  const isOpen = $(".think", article)?.open
  const fresh = content.querySelector("article")
  article.replaceWith(content)
  if (!fresh) return
  if (isOpen) $(".think", fresh).open = true
  htmx.process(fresh)
  lingering.set(turn, seq)
  setTimeout(() => { if (lingering.delete(turn) && !running().length) again() }, LINGER_MS)
  const state = fresh.dataset.state
  document.dispatchEvent(new Event("chat:ended"))
  say(state === "done" ? words.ready : state === "stopped" ? words.stopped : words.failed)
  for (const dot of $$(`[data-line="${conversation()}"] .live`)) dot.remove()
  compose()
}

export function retitle(where, title, turn) {
  lingering.delete(turn)
  if (where === conversation()) {
    $("[data-title]").textContent = title
    document.title = `${title} · chatserver`
  }
  const line = $(`[data-line="${where}"] span`)
  if (line) line.textContent = title
}

setInterval(() => {
  for (const article of running()) {
    const status = $("[data-status]", article)
    article.waitsSince ??= performance.now()
    const waits = !article.classList.contains("has-text") && !article.thoughtAt
    if (waits && performance.now() - article.waitsSince > 12_000 && !status.classList.contains("slow")) {
      status.classList.add("slow")
      status.append(Object.assign(document.createElement("span"), { className: "late", textContent: words.slow }))
    }
  }
  // chats that are answered elsewhere: their dots go out by themselves
  if (!document.hidden && $(".live") && !$("#find").value && ++polls % 4 === 0) refreshChats()
}, 2500)
let polls = 0

document.addEventListener("visibilitychange", () => {
  connect()
  if (document.hidden && running().length) room("notify").then((entered) => entered.watch(), () => {})
})
// a browser without a network may well have its server on the same machine: ask before saying so
addEventListener("offline", () => fetch("/healthz").catch(() => notice(words.offline, { kind: "warn", name: "offline" })))
addEventListener("online", () => { $("#notices [data-name=offline]")?.remove(); connect() })
addEventListener("pagehide", () => source?.close())
addEventListener("pageshow", (event) => { if (event.persisted) { shown = ""; source = null; connect() } })
