// What a browser keeps for one person: drafts and small choices, gone when they sign out or another signs in.

import { root } from "./page.js"

const me = root.dataset.account ?? ""
export const mine = () => localStorage.account === me // what one person wrote is no other's, on the same machine
export const store = {
  get: (key) => { try { return (mine() && localStorage.getItem(key)) || "" } catch { return "" } },
  set: (key, value) => { try { if (mine()) value ? localStorage.setItem(key, value) : localStorage.removeItem(key) } catch { /* private window */ } },
  clear: () => { try { localStorage.clear() } catch { /* private window */ } },
}
try { if (!mine()) { localStorage.clear(); localStorage.account = me } } catch { /* private window */ }
document.addEventListener("submit", ({ target }) => { if (target.getAttribute("action") === "/sign-out") store.clear() })
