"""What was done, in words: the deeds of the core, each in a few; a plugin's are called what it calls them."""

from __future__ import annotations

from chatserver.words import gettext as _


def deed_text(action: str) -> str:
    """For people; programs and the log know the action by its name."""
    return {
        "account_changed": _("Account changed"),
        "account_created": _("Account made"),
        "account_exported": _("Everything of an account exported"),
        "channel_added": _("Channel added"),
        "channel_changed": _("Channel changed"),
        "channel_connected": _("Channel connected"),
        "channel_removed": _("Channel removed"),
        "channel_switched": _("Channel switched"),
        "chat_exported": _("Chat exported"),
        "first_admin_created": _("First admin made"),
        "key_created": _("API key made"),
        "key_revoked": _("API key revoked"),
        "model_ruled": _("Model switched or kept to groups"),
        "password_changed": _("Password changed"),
        "plugin_switched": _("Plugin switched"),
        "proved_again": _("Signed in again before an act of consequence"),
        "setting_changed": _("Setting changed"),
        "setting_reset": _("Setting put back to its default"),
        "signed_in": _("Signed in"),
        "signed_out": _("Signed out"),
    }.get(action, action)
