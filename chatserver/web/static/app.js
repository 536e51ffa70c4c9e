// The page's script: streams what is being written, keeps drafts, and makes forms feel like an app. All of it works
// without this file, more slowly. Sections: words, stream, view, composer, models, messages, side, keys, look, htmx,
// rooms.
import * as house from "./app.js"

const root = document.documentElement
const $ = (selector, from = document) => from.querySelector(selector)
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)]
const words = $("#words").dataset
const csrf = () => $("input[name=csrf]")?.value ?? ""
const post = (path, fields = {}) =>
  fetch(path, { method: "POST", headers: { "X-CSRF": csrf(), "HX-Request": "true" }, body: new URLSearchParams({ csrf: csrf(), ...fields }) })
const conversation = () => $("#where [name=conversation_id]")?.value ?? ""
const me = root.dataset.account ?? ""
const mine = () => localStorage.account === me // what one person wrote is no other's, on the same machine
const store = {
  get: (key) => { try { return (mine() && localStorage.getItem(key)) || "" } catch { return "" } },
  set: (key, value) => { try { if (mine()) value ? localStorage.setItem(key, value) : localStorage.removeItem(key) } catch { /* private window */ } },
  clear: () => { try { localStorage.clear() } catch { /* private window */ } },
}
try { if (!mine()) { localStorage.clear(); localStorage.account = me } } catch { /* private window */ }
document.addEventListener("submit", ({ target }) => { if (target.getAttribute("action") === "/sign-out") store.clear() })

// --- words: what is said aloud, and notices -------------------------------------------------------------------------

function say(text) {
  const live = $("#live")
  live.textContent = ""
  requestAnimationFrame(() => { live.textContent = text })
}

function notice(text, { href = "", action = "", kind = "bad", name = "" } = {}) {
  const box = $("#notices")
  if (!box) return
  const note = document.createElement("div")
  note.className = `note ${kind}`
  note.dataset.name = name
  note.setAttribute("role", "alert")
  const line = document.createElement("p")
  line.textContent = text
  note.append(line)
  if (href) {
    const link = document.createElement("a")
    link.className = "btn small"
    link.href = href
    link.textContent = action
    note.append(link)
  }
  box.replaceChildren(note)
}

// --- stream: one for all turns this page shows, resumed by cursor ---------------------------------------------------

const LINGER_MS = 25_000 // a title may follow the end of its turn
let source = null
let shown = ""
let tries = 0
let retry = 0
const lingering = new Map()

const running = () => $$("article[aria-busy=true][data-turn]")

function connect() {
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

function retitle(where, title, turn) {
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
      status.append(Object.assign(document.createElement("span"), { textContent: words.slow }))
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

// --- view: follows the end while the reader is there, older messages above ------------------------------------------

let isFollowing = true
let lastTop = 0
let anchor = null
let switching = false // a version was picked: the stored tip moves when its branch is here
let seek = null // sees the link to older messages come near
const NEAR_PX = 72

function follow(force) {
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

async function loadOlder(link) {
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

async function reach(id) {
  for (let round = 0; round < 12 && !document.getElementById(id) && $("#older"); round++) await loadOlder($("#older"))
  const target = document.getElementById(id)
  if (!target) return
  isFollowing = false
  target.scrollIntoView({ block: target.offsetHeight > innerHeight / 2 ? "start" : "center" })
  target.classList.add("found")
  setTimeout(() => target.classList.remove("found"), 2400)
}

// keep what the reader looks at in its place while the branch below it changes
function hold(article) {
  const parent = article?.previousElementSibling ?? null
  anchor = parent?.id ? { id: parent.id, top: parent.getBoundingClientRect().top } : { id: "", top: 0 }
}

function settleView(view) {
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

// --- composer: drafts, sending, stopping ----------------------------------------------------------------------------

const isTouch = matchMedia("(hover: none) and (pointer: coarse)")
const draftKey = () => `draft:${conversation() || "new"}`
const filesKey = () => `files:${conversation() || "new"}`
let sending = null
let slashing = 0 // lists for a slash that are on their way: Enter waits for them

function compose() {
  const stop = $("#stop")
  if (!stop) return
  const turn = running().at(-1)?.dataset.turn
  stop.hidden = !turn && !sending
  stop.disabled = !turn
  $("#send").hidden = !stop.hidden
  if (turn) stop.setAttribute("formaction", `/t/${turn}/stop`)
  connect()
}

function grow(area) {
  if (CSS.supports("field-sizing", "content")) return
  area.style.height = "auto"
  area.style.height = `${area.scrollHeight}px`
}

function startComposer() {
  const text = $("#text")
  if (!text) return
  if (isTouch.matches) text.enterKeyHint = "enter"
  const draft = store.get(draftKey())
  if (draft && !text.value) text.value = draft
  const kept = store.get(filesKey())
  if (kept && !$("#files > li")) room("files").then((entered) => entered.restore(kept.split(",")), () => {})
  grow(text)
  const liked = store.get("model")
  if (!conversation() && liked && !("keeps" in $("#model").dataset) && $$("#model option").some((option) => option.value === liked)) pickModel(liked)
  compose()
}

function begin(form) {
  const text = $("#text", form)
  const value = text.value
  const thread = $("#thread")
  const pending = $("#pending").content.cloneNode(true)
  $(".bubble", pending).textContent = value
  $("[data-picked-name]", pending).textContent = $("[data-picked]")?.textContent ?? ""
  const empty = $("#empty")
  sending = { value, key: draftKey(), nodes: [...pending.children], empty, model: $("#model").value, files: $$("#files > li"), filesKey: filesKey() }
  $("#files").replaceChildren()
  $("#files").hidden = text.required = true
  empty?.remove()
  thread.append(pending)
  keepLane()
  text.value = ""
  grow(text)
  $("#notices").replaceChildren()
  say(words.writing)
  if (!isTouch.matches) text.focus() // the button one pressed goes away
  compose()
  follow(true)
}

// new messages go on in the colour of their branch; only a fork changes it
function keepLane() {
  const articles = $$("#thread > .msg")
  const lane = (article) => [...article.classList].find((name) => name.startsWith("lane-"))
  for (let at = Math.max(1, articles.length - 2); at < articles.length; at++) {
    if ($(".sib", articles[at])) continue
    articles[at].classList.remove(lane(articles[at]))
    articles[at].classList.add(lane(articles[at - 1]) ?? "lane-1")
  }
}

function accepted() {
  store.set(sending.key, "")
  store.set(sending.filesKey, "")
  if (sending.model) store.set("model", sending.model)
  $("#text").placeholder = $("#text").dataset.reply
  sending.nodes.forEach((node) => node.remove())
  delete $("#composer").dataset.key
  sending = null
}

function refused() {
  if (!sending) return
  const text = $("#text")
  sending.nodes.forEach((node) => node.remove())
  if (sending.empty) $("#thread").after(sending.empty)
  text.value = text.value ? `${sending.value}\n${text.value}` : sending.value
  store.set(draftKey(), text.value)
  $("#files").prepend(...sending.files)
  $("#files").hidden = text.required = !$("#files > li")
  grow(text)
  sending = null
  compose()
}

async function stop() {
  const button = $("#stop")
  if (button.hidden || button.disabled) return
  button.disabled = true
  try {
    const answers = await Promise.all(running().map(({ dataset }) => post(`/t/${dataset.turn}/stop`)))
    const failed = answers.find((answer) => !answer.ok)
    if (failed) notice(failed.status === 401 ? words.signedOut : words.odd)
  } catch { notice(words.unreachable) }
  setTimeout(compose, 3000)
  $("#text").focus()
}

document.addEventListener("input", ({ target }) => {
  if (target.id === "text") {
    store.set(draftKey(), target.value)
    delete target.form.dataset.key // other words are another request
    if (target.value[0] === "/")
      for (const element of $$("[data-slash]")) slashing++, enter(element.dataset.slash, "slash", element).finally(() => slashing--)
  }
  if (target.localName === "textarea") grow(target)
})

// another tab of this chat wrote or sent the draft: follow it, unless something else was written here
addEventListener("storage", ({ key, oldValue, newValue }) => {
  const text = $("#text")
  if (!text || key !== draftKey() || text.value !== (oldValue ?? "") || !mine()) return
  text.value = newValue ?? ""
  grow(text)
})

// --- models: a listbox over the select that forms send --------------------------------------------------------------

let active = -1
let typed = ""
let typedAt = 0

function pickModel(id) {
  const select = $("#model")
  select.value = id
  $("[data-picked]").textContent = select.selectedOptions[0]?.textContent.trim() ?? ""
}

function openModels() {
  const [list, select] = [$("#models"), $("#model")]
  list.replaceChildren(...[...select.options].map((option, index) => {
    const row = $("#model-row").content.firstElementChild.cloneNode(true)
    row.id = `model-${index}`
    row.setAttribute("aria-selected", option.selected)
    $("b", row).textContent = option.textContent.trim()
    $("small", row).textContent = row.ariaDescription = option.dataset.note ?? ""
    return row
  }))
  list.hidden = false
  $("#pick").setAttribute("aria-expanded", true)
  list.focus()
  activate(select.selectedIndex)
}

function closeModels(refocus = true) {
  if ($("#models")?.hidden ?? true) return
  $("#models").hidden = true
  $("#pick").setAttribute("aria-expanded", false)
  if (refocus) $("#pick").focus()
}

function activate(index) {
  const rows = $$("#models [role=option]")
  active = Math.max(0, Math.min(rows.length - 1, index))
  rows.forEach((row, at) => row.classList.toggle("active", at === active))
  rows[active]?.scrollIntoView({ block: "nearest" })
  $("#models").setAttribute("aria-activedescendant", `model-${active}`)
}

function choose(index) {
  const option = $("#model").options[index]
  if (option) { pickModel(option.value); store.set("model", option.value) }
  closeModels(false)
  $("#text").focus()
}

function modelKey(event) {
  const moves = { ArrowDown: active + 1, ArrowUp: active - 1, Home: 0, End: 1e6, PageDown: active + 8, PageUp: active - 8 }
  if (event.key in moves) activate(moves[event.key])
  else if (event.key === "Enter" || event.key === " ") choose(active)
  else if (event.key === "Escape") closeModels()
  else if (event.key === "Tab") return
  else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
    typed = (event.timeStamp - typedAt < 700 ? typed : "") + event.key.toLowerCase()
    typedAt = event.timeStamp
    const at = [...$("#model").options].findIndex((option) => option.textContent.trim().toLowerCase().startsWith(typed))
    if (at >= 0) activate(at)
  } else return
  event.preventDefault()
  event.stopPropagation()
}

document.addEventListener("focusout", ({ target, relatedTarget }) => {
  if (target.closest?.(".models") && !relatedTarget?.closest(".models, #pick")) closeModels(false)
})

// --- messages: copy, edit, delete -----------------------------------------------------------------------------------

function copied(button) {
  const use = $("use", button)
  const href = use.getAttribute("href").replace(/#.*/, "")
  button.classList.add("done")
  use.setAttribute("href", `${href}#check`)
  setTimeout(() => { button.classList.remove("done"); use.setAttribute("href", `${href}#copy`) }, 1600)
  say(words.copied)
}

async function copy(button, text) {
  try {
    if (navigator.clipboard && window.ClipboardItem && typeof text !== "string")
      await navigator.clipboard.write([new ClipboardItem({ "text/plain": text.then((value) => new Blob([value], { type: "text/plain" })) })])
    else if (navigator.clipboard) await navigator.clipboard.writeText(await text)
    else {
      const area = document.createElement("textarea")
      area.value = await text
      area.className = "vh"
      document.body.append(area)
      area.select()
      if (!document.execCommand("copy")) throw new Error("refused")
      area.remove()
    }
    copied(button)
  } catch { notice(words.copyFailed, { kind: "warn" }) }
}

const textAt = async (path) => {
  const answer = await fetch(path)
  if (!answer.ok) throw new Error(answer.status)
  return answer.text()
}

// words picked out of a message may be quoted
document.addEventListener("selectionchange", function first() {
  if (getSelection().isCollapsed || !$("#quote")) return
  document.removeEventListener("selectionchange", first)
  room("quote").then((entered) => entered.begin())
})

function closeEditor(editor) {
  const article = editor.closest("article")
  editor.remove()
  $$("button", article).find((button) => button.getAttribute("formaction")?.endsWith("/edit"))?.focus()
}

document.addEventListener("click", (event) => {
  const hit = (selector) => event.target.closest?.(selector)
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0
  let found
  if ((found = hit("[data-copy-code]"))) copy(found, $("code", found.closest("figure")).textContent)
  else if ((found = hit("[data-copy]"))) copy(found, textAt(found.dataset.copy))
  else if ((found = hit("[data-cancel]"))) { event.preventDefault(); closeEditor(found.closest(".editor")) }
  else if ((found = hit("[data-close]")) && $("#dialog").contains(found)) { event.preventDefault(); $("#dialog").close() }
  else if ((found = hit("[data-dismiss]"))) found.closest(".note").remove()
  else if ((found = hit("[data-idea]"))) { $("#text").value = found.textContent.trim(); store.set(draftKey(), $("#text").value); $("#text").focus() }
  else if ((found = hit("#stop"))) { event.preventDefault(); stop() }
  else if (hit("#jump")) { follow(true); $("#text").focus() }
  else if (hit("#older")) { event.preventDefault(); loadOlder(hit("#older")) }
  else if (hit("#pick")) $("#models").hidden ? openModels() : closeModels()
  else if ((found = hit("#models [role=option]"))) choose(Number(found.id.slice(6)))
  else if ((found = hit("[data-version], [data-goes]"))) { switching = plain; hold(found.closest("article")) }
  else if ((found = hit("[data-new]")) && plain && $("#composer")) { event.preventDefault(); newChat() }
  else if (hit("#open-side") || hit("#close-side") || hit("#veil")) toggleSide()
  else if ((found = hit("[data-line]")) && plain) mark(found.dataset.line)
  if (!hit("#pick") && !hit(".models")) closeModels(false)
  for (const menu of $$("[data-menu][open]")) if (!menu.contains(event.target) || hit(".menu-list button")) menu.open = false
  if (event.target === $("#dialog")) $("#dialog").close()
})

// --- side: the list of chats, a drawer on phones --------------------------------------------------------------------

const narrow = matchMedia("(max-width: 760px)")

function mark(id) {
  for (const line of $$("#chats [data-line]")) line.dataset.line === id ? line.setAttribute("aria-current", "page") : line.removeAttribute("aria-current")
}

function toggleSide(open = narrow.matches ? root.dataset.drawer !== "open" : root.dataset.side === "closed") {
  const button = $("#open-side")
  button?.setAttribute("aria-expanded", open)
  if (narrow.matches) {
    if (open) root.dataset.drawer = "open"
    else delete root.dataset.drawer
    $("#veil").hidden = !open
    for (const element of $$("#main, .skip")) element.inert = open
    open ? $("#close-side").focus() : button?.focus()
  } else {
    if (open) delete root.dataset.side
    else root.dataset.side = "closed"
    open ? $("#close-side").focus() : button?.focus()
    post("/settings/look", { side: open ? "open" : "closed" }).catch(() => {})
  }
}

const closeDrawer = () => { if (root.dataset.drawer === "open") toggleSide(false) }
narrow.addEventListener("change", () => { if (!narrow.matches && root.dataset.drawer) { delete root.dataset.drawer; $("#veil").hidden = true; for (const element of $$("#main, .skip")) element.inert = false } })

const newChat = () => htmx.ajax("GET", "/", { target: "#main", swap: "outerHTML", push: "/", headers: { "HX-Target": "main#main" } })
const refreshChats = () => htmx.ajax("GET", `/chats?current=${conversation()}`, { source: $("#chats"), target: "#chats", swap: "innerHTML" })

// --- keys -----------------------------------------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  const { key, target } = event
  const command = event.ctrlKey || event.metaKey
  if (event.isComposing || event.keyCode === 229) return
  if (target.id === "models") return modelKey(event)
  if (target.id === "pick" && (key === "ArrowDown" || key === "ArrowUp")) { event.preventDefault(); return openModels() }
  const sends = root.dataset.send === "ctrl_enter" || isTouch.matches ? command : true
  if (target.id === "text" && key === "Enter" && !event.shiftKey && !event.altKey && sends) {
    event.preventDefault()
    if (!$("#send").hidden && !slashing && (target.value.trim() || !target.required)) target.form.requestSubmit($("#send"))
    return
  }
  const editor = target.closest?.(".editor")
  if (editor && key === "Enter" && command) { event.preventDefault(); return editor.requestSubmit() }
  if (editor && key === "Escape") { event.preventDefault(); return closeEditor(editor) }
  const named = bound[chord(event)]
  if (named && (named !== "shortcuts" && named !== "rename" || !target.closest?.("input, textarea, select"))) {
    if ((named === "previous" || named === "next") && target.value) return // moves by words in there
    event.preventDefault()
    return does(named)
  }
  const menu = $("[data-menu][open]")
  if (key === "Escape" && menu) { menu.open = false; return $("summary", menu).focus() }
  if (key === "Escape" && !$("#dialog")?.open) {
    if (root.dataset.drawer === "open") return toggleSide(false)
    if (target.id === "find") { if (target.value) { target.value = ""; refreshChats() } else $("#text")?.focus(); return }
    return stop()
  }
})

// what the one list of commands calls a key, and what each does that neither leads to a page nor presses a button
const bound = JSON.parse(words.keys)
const chord = ({ key, code, altKey, ctrlKey, metaKey, shiftKey }) => {
  const name = /^Key[A-Z]$/.test(code) ? code[3] : key
  const mod = ctrlKey || metaKey
  return [mod && "mod", altKey && "alt", shiftKey && mod && "shift", name.toLowerCase()].filter(Boolean).join("+")
}
const commands = {
  new: () => $("#composer") ? newChat() : location.assign("/"),
  map: () => $("#open-panel")?.click(),
  palette: () => room("palette").then((entered) => entered.open()),
  shortcuts: () => $("#dialog") ? htmx.ajax("GET", "/shortcuts", { source: $("#dialog"), target: "#dialog", swap: "innerHTML" }) : location.assign("/shortcuts"),
  rename: () => room("order").then((entered) => entered.rename(conversation())),
  theme: () => { const theme = getComputedStyle(root).colorScheme === "dark" || (root.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches) ? "light" : "dark"; root.dataset.theme = theme; post("/settings/look", { theme }) },
  previous: () => turnVersion(0),
  next: () => turnVersion(2),
}
const does = (name) => commands[name]?.()

function turnVersion(side) {
  const groups = $$(".sib").filter((group) => group.getBoundingClientRect().top < innerHeight)
  const group = $(".sib", document.activeElement.closest?.("article") ?? document.createElement("i")) ?? groups.at(-1)
  const wanted = group?.children[side]
  if (wanted?.localName === "a") wanted.click()
}

// --- look: theme, side and time zone, kept on the account -----------------------------------------------------------

$("#look")?.addEventListener("submit", (event) => {
  const { name, value } = event.submitter ?? {}
  if (!name || name === "look") return // another look brings other style sheets
  event.preventDefault()
  root.dataset[name] = value
  for (const other of $$(`[name=${name}]`, event.target)) other.setAttribute("aria-pressed", other === event.submitter)
  post("/settings/look", { [name]: value }).catch(() => notice(words.unreachable))
})

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? ""
if (zone && csrf() && root.dataset.timezone !== zone) {
  post("/settings/look", { timezone: zone }).catch(() => {})
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" })
  for (const time of $$("time[datetime]")) time.textContent = clock.format(new Date(time.dateTime))
}
if (/Mac|iPhone|iPad/.test(navigator.platform)) for (const hint of $$("[data-keys]")) hint.textContent = hint.dataset.keys

// --- htmx: what happens around its requests -------------------------------------------------------------------------

const of = (event) => event.detail.ctx ?? {}
const from = (event, id) => of(event).sourceElement?.id === id

document.addEventListener("htmx:before:request", (event) => {
  const { request, sourceElement } = of(event)
  if (sourceElement?.id === "find" && !sourceElement.value.trim()) { event.preventDefault(); return refreshChats() }
  if (sourceElement?.id !== "composer") return
  if ($("#files > [aria-busy]")) {
    $("#files").dataset.send = "yes"
    say($("#files").dataset.wait)
    return event.preventDefault()
  }
  if (sending || running().length || (!$("#text").value.trim() && $("#text").required)) return event.preventDefault()
  sourceElement.dataset.key ||= [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("")
  request.headers["Idempotency-Key"] = sourceElement.dataset.key
  begin(sourceElement)
})

document.addEventListener("htmx:before:swap", (event) => {
  const { sourceElement, response } = of(event)
  if (response?.status < 400 && sourceElement?.id === "composer" && sending) {
    if (conversation() && !$("#find").value) setTimeout(refreshChats) // it moves to the top
    accepted()
  }
})

document.addEventListener("htmx:response:error", (event) => {
  const { response, text = "", sourceElement } = of(event)
  if (sourceElement?.id === "composer") delete sourceElement.dataset.key
  if (response.status === 401) notice(words.signedOut, { href: "/sign-in", action: words.signIn })
  else if (!text.includes("<hx-partial")) {
    let said = ""
    try { said = JSON.parse(text).error.message } catch { /* a page, not ours */ }
    notice(said || words.odd)
  }
  anchor = null
})

document.addEventListener("htmx:error", (event) => {
  if (of(event).request) notice(navigator.onLine ? words.unreachable : words.offline)
  anchor = null
})

document.addEventListener("htmx:finally:request", (event) => {
  if (from(event, "composer")) refused() // nothing to do once it was accepted
})

document.addEventListener("htmx:before:settle", (event) => {
  const target = event.detail.task?.target
  if (!target) return
  if (target.id === "main") { settleView($("#view")); closeDrawer() }
  else if (target.id === "view") settleView(target)
  else if (target.id === "thread") {
    keepLane()
    follow(true)
  }
})

document.addEventListener("htmx:after:swap", (event) => {
  const at = of(event).target // an answer may name another one than was asked for
  const target = at?.at ? $(at) : at
  beginRooms()
  const main = $("#main")
  if ($("#where")) main.dataset.conversation = conversation()
  if (target?.id === "dialog") {
    const [sheet, open] = [$("#dialog link"), () => $("#dialog").showModal()]
    return sheet && !sheet.sheet ? (sheet.onload = sheet.onerror = open) : open() // not before it is dressed
  }
  if (target?.matches?.("[data-editor]")) return startEditor(target)
  if (target?.id === "chats") {
    const line = $(`[data-line="${conversation()}"] span`)
    return line && retitle(conversation(), line.textContent)
  }
  // what was asked for from the dialog has come; what the page asks for by itself leaves it open
  const isAnswered = of(event).sourceElement?.closest?.("#dialog, .menu") || target?.id === "main"
  if ($("#dialog")?.open && isAnswered) $("#dialog").close()
  for (const toast of $$("#toasts [data-fades]")) setTimeout(() => toast.remove(), 1000 * toast.dataset.fades)
  mark(conversation())
  if (target?.id === "main") {
    startComposer()
    if (!isTouch.matches && !$("[data-renaming]")) $("#text")?.focus()
    const id = of(event).request?.anchor
    if (id) reach(id)
  }
  compose()
  if (target?.id === "view" && running().length) say(words.writing)
  if (document.activeElement === document.body && !isTouch.matches) $("#text")?.focus() // what was pressed is gone
  if (target?.id === "view" && switching) switched()
})

function startEditor(slot) {
  const area = $("textarea", slot)
  area.focus()
  area.setSelectionRange(area.value.length, area.value.length)
  grow(area)
  area.closest("article").scrollIntoView({ block: "nearest" })
}

function switched() {
  switching = false
  const { conversation: id, tip } = $("#view").dataset
  if (!id || !tip) return
  const headers = { "X-CSRF": csrf(), "Content-Type": "application/json" }
  fetch(`/api/conversations/${id}`, { method: "PATCH", headers, body: JSON.stringify({ tip }) }).catch(() => {})
}

// --- rooms: scripts a page asks for only when they are needed ---------------------------------------------------------
// `data-room="map"` on a button: its first press fetches ./map.js, and every press calls its `press(element, event)`.
// `data-begin="map"` on anything: `begin(element)` is called once, as soon as it is in the page.
// `data-slash="map"` on anything: `slash(element)` is called while a message begins with a slash.
// A plugin names a file of its own by its address; each is handed what this file exports as the last argument.

const room = (name) => import(name[0] === "/" ? name : `./${name}.js`)
const enter = (name, what, ...given) =>
  room(name).then((entered) => entered[what](...given, house), () => notice(words.unreachable))

document.addEventListener("click", (event) => {
  const element = event.target.closest("[data-room]")
  if (!element || event.defaultPrevented) return
  event.preventDefault()
  enter(element.dataset.room, "press", element, event)
})

document.addEventListener("dblclick", (event) => {
  const line = event.target.closest("[data-line], [data-title]")
  if (line) room("order").then((entered) => entered.rename(line.dataset.line ?? conversation(), line))
})
document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("[data-folder]")) room("order").then((entered) => entered.unfold(event.target))
}, true)
document.addEventListener("dragstart", (event) => {
  if (event.target.matches?.("[data-line]")) room("order").then((entered) => entered.drag(event.target))
})
// files come from a picker, a clipboard or another window; ./files.js does the rest
function bring(event, files) {
  if (!files?.length || !$("#composer")) return
  event.preventDefault()
  const some = [...files]
  room("files").then((entered) => entered.add(some), () => notice(words.unreachable))
}
const dragged = (event) => event.dataTransfer?.types.includes("Files") && $("#composer")
document.addEventListener("change", (event) => { if (event.target.id === "pick-files") bring(event, event.target.files) })
document.addEventListener("paste", (event) => { if (!event.clipboardData.types.includes("text/plain")) bring(event, event.clipboardData.files) })
document.addEventListener("dragover", (event) => { if (dragged(event)) { event.preventDefault(); root.dataset.drag = "" } })
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) delete root.dataset.drag })
document.addEventListener("drop", (event) => { delete root.dataset.drag; if (dragged(event)) bring(event, event.dataTransfer.files) })

function beginRooms() {
  for (const element of $$("[data-begin]")) {
    const name = element.dataset.begin
    delete element.dataset.begin
    enter(name, "begin", element)
  }
}

export { $, $$, conversation, copied, copy, csrf, does, follow, grow, isTouch, narrow, notice, pickModel, post, reach, refreshChats, retitle, running, say, store, words }

// --- begin ----------------------------------------------------------------------------------------------------------

if ($("#view")) {
  settleView($("#view"))
  startComposer()
  if (location.hash.startsWith("#m-")) reach(location.hash.slice(1))
  if (!isTouch.matches) $("#text").focus()
}
beginRooms()
if ($("#panel") && !narrow.matches && store.get("panel")) room("panel").then((entered) => entered.open())
if (csrf()) setTimeout(() => navigator.serviceWorker?.register("/sw.js").catch(() => {}), 5000) // after what is looked at
