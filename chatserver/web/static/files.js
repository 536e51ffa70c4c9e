// Files in the composer: sent ahead one after the other, shown as chips, kept with the draft. Loaded with the first one.

import { $, $$, conversation, csrf, notice, say, store, words } from "./app.js"

const AT_ONCE = 2
const list = () => $("#files")
const chips = () => $$("#files > li")
const told = () => list().dataset
const keep = (key) => store.set(`files:${key}`, $$("#files [name=attachments]").map((field) => field.value).join())
const here = () => conversation() || "new"
const waiting = []
let going = 0

/** The button that picks, and the one on a chip that takes it away. */
export function press(element) {
  if (!("remove" in element.dataset)) return $("#pick-files").click()
  const chip = element.closest("li")
  const next = chip.nextElementSibling ?? chip.previousElementSibling
  chip.request?.abort()
  if (chip.dataset.file) fetch(`/api/files/${chip.dataset.file}`, { method: "DELETE", headers: { "X-CSRF": csrf() } }).catch(() => {})
  say(told().removed.replace("{name}", chip.dataset.name))
  chip.remove()
  settle()
  next ? $("button", next).focus() : $("#text").focus()
}

/** Files that were picked, dropped or pasted. */
export function add(files) {
  $("#pick-files").value = "" // they go ahead of the form, not with it
  for (const file of files) {
    if (chips().length >= told().atOnce) { notice(told().tooMany, { kind: "warn" }); break }
    const chip = coming(file.name || "file")
    const most = told().most * 1024 * 1024
    if (most && file.size > most) fail(chip, told().tooLarge)
    else waiting.push([chip, file])
  }
  settle()
  next()
}

/** What a draft held when its page was left. */
export async function restore(ids) {
  for (const id of ids) {
    const chip = coming("…")
    try {
      const answer = await fetch(`/files/${id}/chip`, { headers: { "HX-Request": "true" } })
      answer.ok ? show(chip, await answer.text()) : chip.remove() // it was taken away meanwhile
    } catch { chip.remove() }
  }
  settle()
}

function coming(name) {
  const parts = $("#chip-coming").content.cloneNode(true)
  const chip = $("li", parts)
  const links = $$("link", parts)
  chip.dataset.name = name
  $("b", chip).textContent = name
  $("button", chip).ariaLabel = $("button", chip).ariaLabel.replace("{name}", name)
  for (const link of links) if (!$$("link").some((other) => other.href === link.href)) document.head.append(link)
  list().append(chip)
  list().hidden = false
  return chip
}

function next() {
  while (going < AT_ONCE && waiting.length) {
    const [chip, file] = waiting.shift()
    if (chip.isConnected) send(chip, file)
  }
}

function send(chip, file) {
  const request = chip.request = new XMLHttpRequest()
  const form = new FormData()
  const where = here()
  form.append("file", file, chip.dataset.name)
  going++
  request.open("POST", "/files")
  request.setRequestHeader("X-CSRF", csrf())
  request.setRequestHeader("HX-Request", "true")
  request.upload.onprogress = ({ loaded, total }) => { const bar = $("progress", chip); if (bar) bar.value = loaded / total }
  request.onloadend = () => {
    going--
    if (chip.isConnected) {
      if (request.status === 200) {
        const shown = show(chip, request.responseText)
        say(told().attached.replace("{name}", shown.dataset.name))
      } else fail(chip, request.status === 401 ? words.signedOut : sentence(request.responseText) || told().failed)
    }
    settle(where)
    next()
  }
  request.send(form)
}

const parsed = (html) => Object.assign(document.createElement("template"), { innerHTML: html }).content

function sentence(html) {
  const told = $(".note p", parsed(html))
  $("b", told ?? document.createElement("p"))?.remove() // a chip has no room for a heading
  return told?.textContent.trim()
}

function show(chip, html) {
  const fresh = $("li", parsed(html))
  const had = chip.contains(document.activeElement)
  chip.replaceWith(fresh)
  if (had) $("button", fresh).focus()
  return fresh
}

function fail(chip, why) {
  chip.removeAttribute("aria-busy")
  chip.classList.add("bad")
  $("progress", chip)?.replaceWith(Object.assign(document.createElement("small"), { textContent: why }))
  $("small", chip).setAttribute("role", "alert")
}

/** After each change: the draft knows, the box may be empty, and who pressed Send meanwhile is served. */
function settle(where = here()) {
  const box = list()
  box.hidden = !chips().length
  $("#text").required = !$("#files > li:not(.bad)")
  if (where === here()) keep(where)
  delete $("#composer").dataset.key // other files are another request
  if (box.dataset.send && !$("#files [aria-busy]")) {
    delete box.dataset.send
    if (!$("#files .bad")) $("#composer").requestSubmit($("#send"))
  }
}
