"""Secrets at rest: sealed with a key that is never in the database, bound to the place they are for."""

from __future__ import annotations

import base64
import hmac
import secrets

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError

from chatserver.errors import SetupError

NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
FORM = "x1"
"""What a sealed text begins with: XChaCha20-Poly1305 under the key derived for the seal's label."""


class Seal:
    """Seals and opens texts of one kind. secret_key: the server's own; label: what kind, so that kinds never mix."""

    def __init__(self, secret_key: bytes, label: str) -> None:
        # HKDF of RFC 5869 with SHA-256, no salt, and one block of output.
        extracted = hmac.digest(bytes(32), secret_key, "sha256")
        self._key = hmac.digest(extracted, f"chatserver seal {label}".encode() + b"\x01", "sha256")

    def seal(self, text: str, place: str) -> str:
        """ASCII. place: what it belongs to; it opens only there."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(text.encode(), place.encode(), nonce, self._key)
        return f"{FORM}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """Raises SetupError when it was sealed under another secret key, for another place, or was changed."""
        form, _, text = sealed.partition(".")
        try:
            raw = base64.urlsafe_b64decode(text.encode())
            if form != FORM:
                raise ValueError(form)
            nonce, cipher_text = raw[:NONCE_BYTES], raw[NONCE_BYTES:]
            opened = crypto_aead_xchacha20poly1305_ietf_decrypt(cipher_text, place.encode(), nonce, self._key)
            return opened.decode()
        except (CryptoError, TypeError, ValueError) as error:
            raise SetupError(
                "A stored key cannot be opened with this secret key. Set CHATSERVER_SECRET_KEY (or the key file beside"
                " the configuration) to the one it was stored with, or remove the channel and connect it again."
            ) from error


class Vaults:
    """`ctx.vault` of each plugin."""

    def __init__(self, secret_key: bytes) -> None:
        self._secret_key = secret_key

    def of_plugin(self, name: str) -> Seal:
        """What it seals opens for nobody else."""
        return Seal(self._secret_key, f"plugin {name}")
