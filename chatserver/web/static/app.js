// The page's script: streams what is being written, keeps drafts, and makes forms feel like an app. All of it works
// without this file, more slowly. Its parts stand beside it, a noun in each; the server hands all of them out as this
// one file. What rooms and plugins may use is named at the end.

import "./presses.js"
import "./keys.js"
import "./look.js"
import "./swaps.js"
import "./doors.js"
import "./drops.js"
import { $, $$, conversation, csrf, isTouch, narrow, post, words } from "./page.js"
import { store } from "./store.js"
import { notice, say } from "./notices.js"
import { retitle, running } from "./stream.js"
import { follow, reach, settleView } from "./view.js"
import { grow, startComposer } from "./composer.js"
import { toText } from "./focus.js"
import { pickModel } from "./models.js"
import { copied, copy } from "./clipboard.js"
import { refreshChats } from "./chats.js"
import { does } from "./commands.js"
import { beginRooms, room } from "./rooms.js"

if ($("#view")) {
  settleView($("#view"))
  startComposer()
  if (location.hash.startsWith("#m-")) reach(location.hash.slice(1))
  toText()
}
beginRooms()
if ($("#panel") && !narrow.matches && store.get("panel")) room("panel").then((entered) => entered.open())
if (csrf()) setTimeout(() => navigator.serviceWorker?.register("/sw.js").catch(() => {}), 5000) // after what is looked at

export { $, $$, conversation, copied, copy, csrf, does, follow, grow, isTouch, narrow, notice, pickModel, post, reach, refreshChats, retitle, running, say, store, words }
