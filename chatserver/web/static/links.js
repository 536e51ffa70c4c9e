// Links to give away: copied by one press.

import { copy } from "./app.js"

export const press = (button) => copy(button, button.dataset.link)
