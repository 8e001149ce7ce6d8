"""What of ``hashlib`` comes from OpenSSL elsewhere, and can be had without it: ``pbkdf2_hmac``."""

import hashlib

_INNER, _OUTER = bytes(byte ^ 0x36 for byte in range(256)), bytes(byte ^ 0x5C for byte in range(256))


def pbkdf2_hmac(hash_name: str, password: bytes, salt: bytes, iterations: int, dklen: int | None = None) -> bytes:
    """Derive a key from a password (RFC 8018, section 5.2), as OpenSSL does."""
    inner, outer = hashlib.new(hash_name), hashlib.new(hash_name)
    if inner.digest_size == 0:
        raise ValueError(f"unsupported hash type {hash_name}")
    if iterations < 1:
        raise ValueError("iteration value must be greater than 0.")
    dklen = inner.digest_size if dklen is None else dklen
    if dklen < 1:
        raise ValueError("key length must be greater than 0.")
    key, salt = bytes(memoryview(password)), bytes(memoryview(salt))
    if len(key) > inner.block_size:
        key = hashlib.new(hash_name, key).digest()
    key = key.ljust(inner.block_size, b"\0")
    inner.update(key.translate(_INNER))
    outer.update(key.translate(_OUTER))

    def prf(message: bytes) -> bytes:
        within, around = inner.copy(), outer.copy()
        within.update(message)
        around.update(within.digest())
        return around.digest()

    derived = b""
    for block in range(1, -(-dklen // inner.digest_size) + 1):
        last = prf(salt + block.to_bytes(4, "big"))
        mixed = int.from_bytes(last, "big")
        for _ in range(iterations - 1):
            last = prf(last)
            mixed ^= int.from_bytes(last, "big")
        derived += mixed.to_bytes(inner.digest_size, "big")
    return derived[:dklen]


def freeze() -> None:
    """Put it where it is looked for."""
    pbkdf2_hmac.__module__ = "hashlib"
    setattr(hashlib, "pbkdf2_hmac", pbkdf2_hmac)  # noqa: B010 - what there is of it depends on the system
    setattr(hashlib, "__all__", (*hashlib.__all__, "pbkdf2_hmac"))  # noqa: B010 - as above
