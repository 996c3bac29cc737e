"""Names of a package that are imported when they are first used (PEP 562).

To import all that this package can do takes several times as long as a small fit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def lazy_names(
    package: str, module_of: Mapping[str, str], modules: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Functions ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : str
        Its name. Its modules are attributes, too.
    module_of : mapping of str to str
        For every public name the module that has it.
    modules : tuple of str, default=()
        Public modules, which ``dir`` lists beside the names.

    Examples
    --------
    >>> from skmixed.lazy_names import lazy_names
    >>> get, names = lazy_names("skmixed", {"RandomEffect": "skmixed.spec"})
    >>> get("RandomEffect").__name__
    'RandomEffect'
    """
    names = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name in module_of:
            # once: the next time Python finds it without asking
            names[name] = getattr(import_module(module_of[name]), name)
            return names[name]
        if not name.startswith("_") and find_spec(f"{package}.{name}") is not None:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def list_names() -> list[str]:
        special = (name for name in names if name.startswith("__"))
        return sorted({*special, *module_of, *modules})

    return get, list_names
