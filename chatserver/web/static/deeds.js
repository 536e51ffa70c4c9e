// The buttons of messages far above the end: they come once, as a mould, and are filled in here.

import { $, $$ } from "./app.js"

const ID = /message-id/g

export function begin() {
  for (const acts of $$(".acts[data-far]")) fill(acts)
}

function fill(acts) {
  const article = acts.closest("article")
  const mould = $(article.matches(".user") ? "#deeds-user" : "#deeds-assistant")
  if (!mould) return
  const made = document.createElement("template")
  made.innerHTML = mould.innerHTML.replace(ID, article.id.slice(2))
  const verdict = $(".verdict", made.content)
  const given = acts.dataset.far && $(`[value="${acts.dataset.far}"]`, verdict ?? made.content)
  if (given) {
    verdict.classList.add("given")
    given.setAttribute("aria-pressed", true)
  }
  const compare = $(".compare", made.content)
  const who = compare && $(".who", article)
  if (who && !$(".sib:only-child", who)) who.append(compare)
  else compare?.remove()
  const link = $("a[href$='/more']", acts)
  const menu = $(".menu:has([data-room=more])", made.content)
  const hadFocus = link === document.activeElement
  delete acts.dataset.far
  acts.prepend(made.content)
  link.replaceWith(menu)
  if (hadFocus) $("button", menu).focus()
  htmx.process(article)
}
