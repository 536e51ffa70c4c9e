// Theme, side and time zone, kept on the account.

import { $, $$, csrf, post, root, words } from "./page.js"
import { notice } from "./notices.js"

$("#look")?.addEventListener("submit", (event) => {
  const { name, value } = event.submitter ?? {}
  if (!name || name === "look") return // another look brings other style sheets
  event.preventDefault()
  root.dataset[name] = value
  for (const other of $$(`[name=${name}]`, event.target)) other.setAttribute("aria-pressed", other === event.submitter)
  post("/settings/look", { [name]: value }).catch(() => notice(words.unreachable))
})

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? ""
if (zone && csrf() && root.dataset.timezone !== zone) {
  post("/settings/look", { timezone: zone }).catch(() => {})
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" })
  for (const time of $$("time[datetime]")) time.textContent = clock.format(new Date(time.dateTime))
}
if (/Mac|iPhone|iPad/.test(navigator.platform)) for (const hint of $$("[data-keys]")) hint.textContent = hint.dataset.keys
