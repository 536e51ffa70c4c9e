"""The words of the page. gettext's own function looks for catalogues on the disk at every call; these look once."""

from __future__ import annotations

from gettext import NullTranslations

translations = NullTranslations()
gettext = translations.gettext
ngettext = translations.ngettext
