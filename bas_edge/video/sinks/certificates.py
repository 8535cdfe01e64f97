"""Whose certificates a connection trusts."""

from __future__ import annotations

import ssl

from bas_edge.errors import InputError

__all__ = ["tls_context"]


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Checks the other side's name and certificate.

    Args:
        ca_file: Certificates to trust, in PEM; None are those of the system.

    Raises:
        InputError: The file cannot be read, or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(
            f"The certificates in {ca_file} cannot be used: {error}.",
            hint="ca_file names a file of certificates in PEM.",
        ) from None
    return context
