// Scripts a page asks for only when they are needed.

import * as house from "./app.js"
import { $$, words } from "./page.js"
import { notice } from "./notices.js"

// `data-room="map"` on a button: its first press fetches ./map.js, and every press calls its `press(element, event)`.
// `data-begin="map"` on anything: `begin(element)` is called once, as soon as it is in the page.
// `data-slash="map"` on anything: `slash(element)` is called while a message begins with a slash.
// A plugin names a file of its own by its address; each is handed what ./app.js exports as the last argument.

export const room = (name) => import(name[0] === "/" ? name : `./${name}.js`)
export const enter = (name, what, ...given) =>
  room(name).then((entered) => entered[what](...given, house), () => notice(words.unreachable))

export function beginRooms() {
  for (const element of $$("[data-begin]")) {
    const name = element.dataset.begin
    delete element.dataset.begin
    enter(name, "begin", element)
  }
}
