// While an answer is written: a card stands for what it makes, and the panel may look on.

/** A reply's holder of the card, or the panel's code that grows with the one in the reply. */
export function begin(element) {
  "mirror" in element.dataset ? mirror(element) : dress(element)
}

const GUESSED = /^\s*<(svg|!doctype html|html)[\s>]/i

// the blocks of code that somebody gave a kind or a title, in their order
function claimed(text, kinds) {
  return [...text.querySelectorAll("figure.code")].map((figure) => {
    const info = figure.dataset.info ?? figure.querySelector("figcaption").textContent.trim()
    const language = info.split(/\s/, 1)[0].toLowerCase().replace(/^[{}.]+|[{}.]+$/g, "")
    const title = /\btitle\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+))/i.exec(info)?.slice(1).find(Boolean) ?? ""
    const label = kinds[language] ?? (title ? language : GUESSED.exec(figure.querySelector("code").textContent)?.[1].replace(/.* /, ""))
    return { figure, title, label: label?.toUpperCase() === label ? label : label?.toUpperCase() }
  }).filter((one) => one.label)
}

function dress(holder) {
  const text = holder.closest("article").querySelector("[data-part=text]")
  const kinds = JSON.parse(holder.dataset.kinds)
  const unfolded = new Set()
  const look = () => claimed(text, kinds).forEach(({ figure, title, label }, at) => {
    if (figure.closest(".cover")) return
    const card = holder.querySelector("template").content.firstElementChild.cloneNode(true)
    const [link, source] = [card.querySelector("a"), card.querySelector("details")]
    const isGrowing = figure.querySelector("[data-tail]")
    link.href += `?made=${at}`
    link.querySelector("b").textContent = title || holder.dataset.untitled
    link.querySelector("small").textContent = isGrowing ? `${label} · ${holder.dataset.note}` : label
    source.open = unfolded.has(at)
    source.addEventListener("toggle", () => source.open ? unfolded.add(at) : unfolded.delete(at))
    figure.replaceWith(card)
    source.append(figure)
  })
  new MutationObserver(look).observe(text, { childList: true, subtree: true })
  look()
}

function mirror(element) {
  const { dataset } = element
  const stage = element.closest("[data-stage]")
  const text = document.getElementById(`m-${dataset.mirror}`)?.querySelector("[data-part=text]")
  if (!text) return
  const kinds = JSON.parse(dataset.kinds)
  let due = 0
  const copy = () => {
    due = 0
    if (!element.isConnected) return watcher.disconnect()
    const code = claimed(text, kinds)[dataset.made]?.figure.querySelector("code")
    if (!code) return
    const isAtEnd = stage.scrollHeight - stage.scrollTop - stage.clientHeight < 48
    element.textContent = code.textContent
    if (isAtEnd) stage.scrollTop = stage.scrollHeight
    if ("tail" in code.dataset) return
    watcher.disconnect()
    setTimeout(() => element.isConnected && htmx.ajax("GET", dataset.again, { target: "#panel", swap: "innerHTML" }), 700)
  }
  const watcher = new MutationObserver(() => { due ||= requestAnimationFrame(copy) })
  watcher.observe(text, { childList: true, subtree: true, characterData: true })
  copy()
}
