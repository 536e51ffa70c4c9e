// While an answer is written: a card stands for what it makes, and the panel may look on.

/** A reply's holder of the card, or the panel's code that grows with the one in the reply. */
export function begin(element) {
  "mirror" in element.dataset ? mirror(element) : dress(element)
}

const GUESSED = /^\s*<(svg|!doctype html|html)[\s>]/i
const TAG = /<(?:ant)?artifact\b([^>]*)(>|$)/i
const TAG_END = /<\/(?:ant)?artifact\s*>/i
const TAG_BEGINS = ["<artifact", "<antartifact"]
const given = (name, text) => new RegExp(`\\b${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s"'>]+))`, "i").exec(text)?.slice(1).find(Boolean) ?? ""

// what was made so far, in its order: blocks of code that somebody gave a kind or a title, and what stands in tags
function claimed(text, kinds) {
  const found = []
  let tag = null // the one that was not closed so far
  for (const block of blocks(text)) {
    tag ??= tagged(block, kinds)
    if (tag) {
      if (!tag.parts.length) found.push(tag)
      tag.parts.push(block)
      tag.isWhole = TAG_END.test(said(block))
      if (tag.isWhole) tag = null
      continue
    }
    for (const figure of block.matches("figure.code") ? [block] : block.querySelectorAll("figure.code")) {
      const one = fenced(figure, kinds)
      if (one) found.push(one)
    }
  }
  return found
}

// as the server sent them: those behind the card of a tag stand one by one
function blocks(text) {
  return [...text.querySelectorAll(":scope > div > *")].flatMap((block) => "tag" in block.dataset ? [...block.querySelectorAll(":scope > details > :not(summary)")] : [block])
}

function fenced(figure, kinds) {
  const info = figure.dataset.info ?? figure.querySelector("figcaption").textContent.trim()
  const language = info.split(/\s/, 1)[0].toLowerCase().replace(/^[{}.]+|[{}.]+$/g, "")
  const code = figure.querySelector("code")
  const title = given("title", info)
  const label = kinds[language] ?? (title ? language : GUESSED.exec(code.textContent)?.[1].replace(/.* /, ""))
  return label && { parts: [figure], title, label: label.toUpperCase() === label ? label : label.toUpperCase(), isWhole: !("tail" in code.dataset), source: () => code.textContent }
}

// named in code it is a word
const said = (block) => [...block.childNodes].filter((node) => node.nodeName !== "CODE").map((node) => node.textContent).join("")

// about as it was written; the panel has it word for word once it is whole
function written(block) {
  if (block.matches("figure.code")) return block.querySelector("code").textContent
  if (block.matches("ul, ol")) return [...block.children].map((item) => `- ${item.textContent.trim()}`).join("\n")
  return /^H\d$/.test(block.nodeName) ? `# ${block.textContent}` : block.textContent
}

function tagged(block, kinds) {
  if (block.nodeName !== "P") return null
  const text = said(block)
  const found = TAG.exec(text)
  const isFirst = !text.slice(text.lastIndexOf("\n", found?.index) + 1, found?.index).trim()
  if (!found ? !(text.length > 3 && TAG_BEGINS.some((begin) => begin.startsWith(text.toLowerCase()))) : !isFirst && !found[1].includes("=")) return null
  const about = found?.[1] ?? ""
  const label = kinds[given("type", about).toLowerCase()] ?? kinds[given("language", about).toLowerCase()] ?? given("language", about).toUpperCase()
  const parts = []
  const source = () => parts.map(written).join("\n\n").replace(/^[^]*?<(?:ant)?artifact\b[^>]*>?\s*/i, "").split(TAG_END)[0].replace(/<\/\w*$/, "")
  return { parts, title: given("title", about), label, before: text.slice(0, found?.index ?? 0).trim(), isTag: true, isWhole: false, source }
}

function dress(holder) {
  const text = holder.closest("article").querySelector("[data-part=text]")
  const kinds = JSON.parse(holder.dataset.kinds)
  const unfolded = new Set()
  const write = (place, words) => { if (place.textContent !== words) place.textContent = words } // what is written is looked at again
  const look = () => claimed(text, kinds).forEach((one, at) => {
    const [first] = one.parts
    const card = first.closest(".cover") ?? stand(one, at)
    const [link, source] = [card.querySelector("a"), card.querySelector("details")]
    write(link.querySelector("b"), one.title || holder.dataset.untitled)
    write(link.querySelector("small"), [one.label, one.isWhole ? "" : holder.dataset.note].filter(Boolean).join(" · "))
    for (const part of one.parts) {
      if (source.contains(part)) continue
      if (part === first || part.parentElement === card.parentElement) source.append(part)
      else part.hidden = true // it grows where the stream finds it
    }
  })
  const stand = (one, at) => {
    const card = holder.querySelector("template").content.firstElementChild.cloneNode(true)
    if (one.isTag) card.dataset.tag = ""
    card.querySelector("a").href += `?made=${at}`
    const source = card.querySelector("details")
    source.open = unfolded.has(at)
    source.addEventListener("toggle", () => source.open ? unfolded.add(at) : unfolded.delete(at))
    one.parts[0].before(card)
    if (one.before) card.before(Object.assign(document.createElement("p"), { dir: "auto", textContent: one.before }))
    return card
  }
  new MutationObserver(look).observe(text, { childList: true, subtree: true, characterData: true })
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
    const one = claimed(text, kinds)[dataset.made]
    if (!one) return
    const isAtEnd = stage.scrollHeight - stage.scrollTop - stage.clientHeight < 48
    element.textContent = one.source()
    if (one.title) stage.closest("[data-artifact]").querySelector("h2").textContent = one.title
    if (isAtEnd) stage.scrollTop = stage.scrollHeight
    if (!one.isWhole) return
    watcher.disconnect()
    setTimeout(() => element.isConnected && htmx.ajax("GET", dataset.again, { target: "#panel", swap: "innerHTML" }), 700)
  }
  const watcher = new MutationObserver(() => { due ||= requestAnimationFrame(copy) })
  watcher.observe(text, { childList: true, subtree: true, characterData: true })
  copy()
}
