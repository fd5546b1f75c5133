"""Say which optional extra of dlrun (`pip install dlrun[...]`) has the package that is missing."""

import importlib.util

from dlrun.errors import ConfigError


def require_extra(what: str, extra: str, *packages: str) -> None:
    """Raise ConfigError if a package of an optional extra of dlrun is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            hint = f"`pip install 'dlrun[{extra}]'`, in a checkout `pip install -e '.[{extra}]'`"
            raise ConfigError(f"{what} needs the package {package}", hint)
