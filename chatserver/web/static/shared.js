// A shared chat that stays open: asks every few seconds whether it is still shared, and goes when it is not. The page
// is whole without this file.

const EVERY_MS = 3000
const place = document.querySelector("#shared")
let timer = 0

async function look() {
  clearTimeout(timer)
  let isOver = false
  try {
    isOver = (await fetch(place.dataset.alive, { cache: "no-store" })).status === 404
  } catch { /* no network: what is here was read while it was shared */ }
  if (isOver) return end()
  timer = setTimeout(look, EVERY_MS)
}

function end() {
  const over = document.querySelector("#over").content.cloneNode(true)
  document.title = over.querySelector("h1").textContent
  document.body.replaceChildren(over)
  document.querySelector("main").focus()
}

timer = setTimeout(look, EVERY_MS)
document.addEventListener("visibilitychange", () => { if (!document.hidden && place.isConnected) look() })
addEventListener("pageshow", (event) => { if (event.persisted) look() })

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy-code]")
  if (!button) return
  try {
    await navigator.clipboard.writeText(button.closest("figure").querySelector("code").textContent)
    const use = button.querySelector("use")
    const href = use.getAttribute("href").replace(/#.*/, "")
    button.classList.add("done")
    use.setAttribute("href", `${href}#check`)
    setTimeout(() => { button.classList.remove("done"); use.setAttribute("href", `${href}#copy`) }, 1600)
  } catch { /* it can be selected */ }
})
