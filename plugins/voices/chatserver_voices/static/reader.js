// Reads a message aloud: passage by passage, the next one fetched while this one sounds.

const STYLE = `
.reader{position:fixed;inset-block-end:calc(7rem + env(safe-area-inset-bottom));inset-inline:0;margin-inline:auto;inline-size:fit-content;max-inline-size:calc(100vw - 2rem);z-index:41;display:flex;align-items:center;gap:.25rem;padding:.25rem .375rem .25rem 1rem;border-radius:var(--r-full);background:var(--surface,var(--bg));color:var(--ink);border:1px solid var(--line);box-shadow:var(--shadow-3);font-size:var(--t-sm)}
.reader-state{white-space:nowrap;overflow:hidden;text-overflow:ellipsis;padding-inline-end:.5rem}
.reader [hidden]{display:none}
.reader [data-shown]{display:contents}
.reader select{appearance:none;min-block-size:2rem;border:0;box-shadow:none;background:transparent;color:inherit;font:inherit;text-align:center;border-radius:var(--r-full);padding-inline:.625rem;cursor:pointer}
.reader select:hover{background:var(--surface-2)}
.reader select:focus-visible{box-shadow:var(--focus)}
@media print{.reader{display:none}}`
const sheet = new CSSStyleSheet()
sheet.replaceSync(STYLE)
document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet]

let reader = null

/** The button begins, pauses and goes on; another message's button begins that one. */
export function press(button, event, house) {
  const article = button.closest("article")
  const id = article?.id.replace(/^m-/, "") ?? ""
  if (reader?.id === id) return reader.pause()
  reader?.end()
  reader = new Reader(id, house)
  reader.begin()
}

document.addEventListener("htmx:after:swap", () => {
  if (reader && !reader.buttons().length) reader.end() // its message is not looked at any more
})
addEventListener("pagehide", () => reader?.end())

class Reader {
  constructor(id, house) {
    Object.assign(this, { id, house, at: 0, passages: [], sounds: new Map(), leaving: new AbortController() })
    this.audio = new Audio()
    this.audio.addEventListener("ended", () => this.play(this.at + 1))
    this.audio.addEventListener("play", () => this.show("reading"))
    this.audio.addEventListener("pause", () => { if (!this.audio.ended) this.show("paused") })
  }

  buttons() {
    return [...document.querySelectorAll(`#m-${CSS.escape(this.id)} [data-room*="reader"]`)]
  }

  async begin() {
    try {
      const [bar, told] = await Promise.all([this.ask("/x/voices/bar"), this.ask(`/x/voices/passages/${this.id}`)])
      const [html, list] = [await bar.text(), await told.json()]
      if (this.leaving.signal.aborted) return
      this.passages = list.passages
      this.hold(html)
      await this.play(0)
    } catch (error) {
      this.fail(error)
    }
  }

  hold(html) {
    this.bar = document.createElement("div")
    this.bar.className = "reader"
    this.bar.setAttribute("role", "region")
    this.bar.innerHTML = html // the server's own words, escaped there
    this.bar.setAttribute("aria-label", this.word("reading"))
    this.bar.addEventListener("click", (event) => {
      const does = event.target.closest("[data-reader]")?.dataset.reader
      if (does === "pause") this.pause()
      if (does === "next") this.play(this.at + 1)
      if (does === "end") this.end()
    })
    const pace = this.bar.querySelector("[data-reader=pace]")
    pace.addEventListener("change", () => { this.audio.playbackRate = this.audio.defaultPlaybackRate = Number(pace.value) })
    this.audio.playbackRate = this.audio.defaultPlaybackRate = Number(pace.value)
    document.body.append(this.bar)
  }

  sound(at) {
    if (at >= this.passages.length) return null
    if (!this.sounds.has(at)) {
      const headers = { "X-CSRF": this.house.csrf(), "Content-Type": "application/json" }
      const body = JSON.stringify({ message_id: this.id, passage: at, speed: 1 })
      const sound = this.ask("/x/voices/speak", { method: "POST", headers, body }).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob))
      sound.catch(() => this.sounds.delete(at))
      this.sounds.set(at, sound)
    }
    return this.sounds.get(at)
  }

  async play(at) {
    if (at >= this.passages.length) return this.end("ended")
    this.at = at
    try {
      this.show("loading")
      const url = await this.sound(at)
      if (this.leaving.signal.aborted || this.at !== at) return
      this.audio.src = url
      await this.audio.play()
      this.sound(at + 1)?.catch(() => {}) // asked again when its turn comes
    } catch (error) {
      this.fail(error)
    }
  }

  pause() {
    if (!this.bar) return this.end()
    this.audio.paused ? this.audio.play().catch((error) => this.fail(error)) : this.audio.pause()
  }

  async ask(url, options = {}) {
    const answer = await fetch(url, { ...options, signal: this.leaving.signal })
    if (answer.ok) return answer
    const told = await answer.json().catch(() => null)
    throw new Error(told?.error?.message ?? this.word("lost"))
  }

  word(name) {
    return this.bar?.querySelector("[data-state-text]")?.dataset[name] ?? ""
  }

  show(state) {
    if (this.leaving.signal.aborted && state !== "ended") return // the sound's last word comes late
    for (const button of this.buttons()) button.setAttribute("aria-pressed", String(state !== "ended"))
    if (!this.bar) return
    const line = this.bar.querySelector("[data-state-text]")
    line.textContent = this.passages.length > 1 && state === "reading" ? `${this.word(state)} ${this.at + 1}/${this.passages.length}` : this.word(state)
    const pause = this.bar.querySelector("[data-reader=pause]")
    const isPaused = state === "paused"
    for (const icon of pause.querySelectorAll("[data-shown]")) icon.hidden = (icon.dataset.shown === "paused") !== isPaused
    pause.setAttribute("aria-label", isPaused ? pause.dataset.goOn : pause.dataset.pause)
    pause.title = pause.getAttribute("aria-label")
  }

  fail(error) {
    if (error.name === "AbortError") return
    this.house.notice(error.message || this.word("lost"))
    this.end()
  }

  end(said = "") {
    if (this.leaving.signal.aborted) return
    if (said) this.house.say(this.word(said))
    this.leaving.abort()
    this.audio.pause()
    this.audio.removeAttribute("src")
    for (const sound of this.sounds.values()) sound.then((url) => URL.revokeObjectURL(url), () => {})
    const hadFocus = this.bar?.contains(document.activeElement)
    this.bar?.remove()
    this.show("ended")
    if (hadFocus) this.buttons()[0]?.focus()
    if (reader === this) reader = null
  }
}
