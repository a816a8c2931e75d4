"""One backend against the reference on a case; it stands in the package, where `snnkern selftest` is."""

from snnkern.selftest.parity import backward, check, forward

__all__ = ['backward', 'check', 'forward']
