// The box one writes in: drafts, sending, what comes back when it fails, stopping.

import { $, $$, conversation, isTouch, post, words } from "./page.js"
import { mine, store } from "./store.js"
import { notice, say } from "./notices.js"
import { enter, room } from "./rooms.js"
import { connect, running } from "./stream.js"
import { follow } from "./view.js"
import { keepLane } from "./lanes.js"
import { pickModel } from "./models.js"
import { toText } from "./focus.js"

export const draftKey = () => `draft:${conversation() || "new"}`
const filesKey = () => `files:${conversation() || "new"}`
export let sending = null
export let slashing = 0 // lists for a slash that are on their way: Enter waits for them

export function compose() {
  const stop = $("#stop")
  if (!stop) return
  const turn = running().at(-1)?.dataset.turn
  stop.hidden = !turn && !sending
  stop.disabled = !turn
  $("#send").hidden = !stop.hidden
  if (turn) stop.setAttribute("formaction", `/t/${turn}/stop`)
  connect()
}

export function grow(area) {
  if (CSS.supports("field-sizing", "content")) return
  area.style.height = "auto"
  area.style.height = `${area.scrollHeight}px`
}

export function startComposer() {
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

export function begin(form) {
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
  toText() // the button one pressed goes away
  compose()
  follow(true)
}

export function accepted() {
  store.set(sending.key, "")
  store.set(sending.filesKey, "")
  if (sending.model) store.set("model", sending.model)
  $("#text").placeholder = $("#text").dataset.reply
  sending.nodes.forEach((node) => node.remove())
  delete $("#composer").dataset.key
  sending = null
}

export function refused() {
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

export async function stop() {
  const button = $("#stop")
  if (button.hidden || button.disabled) return
  button.disabled = true
  try {
    const answers = await Promise.all(running().map(({ dataset }) => post(`/t/${dataset.turn}/stop`)))
    const failed = answers.find((answer) => !answer.ok)
    if (failed) notice(failed.status === 401 ? words.signedOut : words.odd)
  } catch { notice(words.unreachable) }
  setTimeout(compose, 3000)
  toText()
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
