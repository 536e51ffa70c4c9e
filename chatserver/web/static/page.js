// What every script asks of the page: its elements, its words, its token, its chat, and what it is shown on.

export const root = document.documentElement
export const $ = (selector, from = document) => from.querySelector(selector)
export const $$ = (selector, from = document) => [...from.querySelectorAll(selector)]
export const words = $("#words").dataset
export const csrf = () => $("input[name=csrf]")?.value ?? ""
export const post = (path, fields = {}) =>
  fetch(path, { method: "POST", headers: { "X-CSRF": csrf(), "HX-Request": "true" }, body: new URLSearchParams({ csrf: csrf(), ...fields }) })
export const conversation = () => $("#where [name=conversation_id]")?.value ?? ""

export const isTouch = matchMedia("(hover: none) and (pointer: coarse)")
export const narrow = matchMedia("(max-width: 760px)")
