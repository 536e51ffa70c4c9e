"""Secrets at rest: sealed with a key that is never in the database, bound to the place they are for."""

from __future__ import annotations

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chatserver.errors import SetupError

NONCE_BYTES = 12
FORM = "a1"
"""What a sealed text begins with: AES-256-GCM under the key derived for the seal's label."""


class Seal:
    """Seals and opens texts of one kind. secret_key: the server's own; label: what kind, so that kinds never mix."""

    def __init__(self, secret_key: bytes, label: str) -> None:
        derived = HKDF(SHA256(), 32, None, f"chatserver seal {label}".encode()).derive(secret_key)
        self._cipher = AESGCM(derived)

    def seal(self, text: str, place: str) -> str:
        """ASCII. place: what it belongs to; it opens only there."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), place.encode())
        return f"{FORM}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """Raises SetupError when it was sealed under another secret key, for another place, or was changed."""
        form, _, text = sealed.partition(".")
        try:
            raw = base64.urlsafe_b64decode(text.encode())
            if form != FORM:
                raise ValueError(form)
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise SetupError(
                "A stored key cannot be opened with this secret key. Set CHATSERVER_SECRET_KEY (or the key file beside"
                " the configuration) to the one it was stored with, or remove the channel and connect it again."
            ) from error
