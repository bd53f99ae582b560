"""The one licence of the simulated system: two seats and some units, held by three containers."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.licensing import LicenceKey, ProductItem, SignedStatement, Statement, sign

FIRM, PRODUCT, TMR_ID, QUANTITY, UNITS = 6_000_010, 1001, 1, 2, 100_000
KEY = LicenceKey(FIRM, PRODUCT, TMR_ID)


@cache
def statements() -> tuple[SignedStatement, ...]:
    """What the containers of up1, up2, up3 state, signed."""
    item = ProductItem(FIRM, PRODUCT, TMR_ID, QUANTITY, None, units=UNITS, borrow_s=3600)
    return tuple(
        sign(
            Statement(f"up{n}", f"130-100{n}", "sim-0123456789abcdef", 1, (item,)),
            Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32),
        )
        for n in (1, 2, 3)
    )
