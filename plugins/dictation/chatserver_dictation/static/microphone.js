// Records while the button is pressed in, and puts what was said where the cursor stands.

const LONGEST_MS = 180_000
let recorder = null

/** The first press listens, the second writes down. */
export function press(button, event, house) {
  if (recorder) return recorder.stop()
  listen(button, house)
}

async function listen(button, house) {
  let stream
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true })
  } catch (error) {
    const why = !navigator.mediaDevices ? "insecure" : error.name === "NotFoundError" ? "missing" : "refused"
    return house.notice(button.dataset[why])
  }
  const pieces = []
  recorder = new MediaRecorder(stream, { audioBitsPerSecond: 24_000 })
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data))
  const limit = setTimeout(() => recorder?.stop(), LONGEST_MS)
  recorder.addEventListener("stop", () => {
    clearTimeout(limit)
    for (const track of stream.getTracks()) track.stop()
    recorder = null
    button.setAttribute("aria-pressed", "false")
    write(new Blob(pieces), button, house)
  })
  recorder.start()
  button.setAttribute("aria-pressed", "true")
  house.say(button.dataset.listening)
}

async function write(blob, button, house) {
  button.disabled = true
  house.say(button.dataset.writing)
  try {
    const headers = { "X-CSRF": house.csrf(), "Content-Type": "application/json" }
    const answer = await fetch("/x/dictation/hear", { method: "POST", headers, body: JSON.stringify({ audio: await inBase64(blob) }) })
    const told = await answer.json()
    if (!answer.ok) throw new Error(told.error?.message)
    if (!told.text.trim()) return house.notice(button.dataset.nothing)
    insert(told.text.trim())
    house.say(button.dataset.written)
  } catch (error) {
    house.notice(error.message || button.dataset.nothing)
  } finally {
    button.disabled = false
  }
}

function insert(text) {
  const box = document.getElementById("text")
  const before = box.value.slice(0, box.selectionStart)
  const gap = before && !/\s$/.test(before) ? " " : ""
  box.setRangeText(gap + text, box.selectionStart, box.selectionEnd, "end")
  box.dispatchEvent(new Event("input", { bubbles: true }))
  box.focus()
}

function inBase64(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader()
    reader.addEventListener("load", () => done(reader.result.slice(reader.result.indexOf(",") + 1)))
    reader.addEventListener("error", () => failed(reader.error))
    reader.readAsDataURL(blob)
  })
}
