// The buttons of messages far above the end: they come once, as a mould, and are filled in here.

import { $, $$, follow } from "./app.js"

const ID = /message-id/g

// what the reader looks at stays in its place, also where a row of buttons becomes two
export function begin() {
  const view = $("#view")
  const edge = view?.getBoundingClientRect().top
  const seen = view && $$("article", view).find((one) => one.getBoundingClientRect().bottom > edge)
  const top = seen?.getBoundingClientRect().top
  const near = $$(".acts:not([data-far])").at(-1)
  const common = near ? $$("[data-any]", near) : [] // of plugins, the same at every message
  for (const acts of $$(".acts[data-far]")) fill(acts, common)
  if (seen) view.scrollTop += seen.getBoundingClientRect().top - top
  if (view) follow()
}

function fill(acts, common) {
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
  link.replaceWith(...common.map((one) => one.cloneNode(true)), menu)
  if (hadFocus) $("button", menu).focus()
  htmx.process(article)
}
