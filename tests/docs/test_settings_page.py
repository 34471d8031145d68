"""docs/settings.md names every key of obsvty/settings.py, with its default and its environment variable."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from obsvty.settings import ServiceRepository, Settings, load_settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "settings.md"
ALIASES = {"git.services.NAME": "own", "privacy": "rules", "alerts.slack": "slack"}  # local names in the code


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object, bool]]:
    """Dotted key, default, and whether it is a secret."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if isinstance(field.default, BaseModel):
            yield from keys(type(field.default), f"{key}.")
        elif field.annotation == dict[str, ServiceRepository]:
            yield from keys(ServiceRepository, f"{key}.NAME.")
        else:
            yield key, field.default, SecretStr in getattr(field.annotation, "__args__", ())


def as_documented(default: object, *, secret: bool) -> str:
    if secret:
        return "environment only"
    if default is None:
        return "unset"
    if isinstance(default, bool | int | float):
        return f"`{json.dumps(default)}`"
    return f"`{json.dumps(str(default) if isinstance(default, Path) else default)}`"


def documented() -> dict[str, tuple[str, str, str]]:
    """Dotted key to default, environment variable and meaning, as the page has them."""
    found: dict[str, tuple[str, str, str]] = {}
    section = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"## `\[(.+)\]`", line):
            section = heading[1]
        elif row := re.fullmatch(r"\| `(\w+)` \| (.+?) \| `(\w+)` \| (.+) \|", line):
            found[f"{section}.{row[1]}"] = (row[2], row[3], row[4])
    return found


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert list(documented()) == [key for key, _, _ in keys(Settings)]


@pytest.mark.parametrize(("key", "default", "secret"), list(keys(Settings)))
def test_default_and_environment_variable_are_the_real_ones(key: str, default: object, secret: bool) -> None:
    said, variable, meaning = documented()[key]
    assert said == as_documented(default, secret=secret)
    assert variable == "OBSVTY_" + key.upper().replace(".", "__")
    assert meaning.endswith(".")


def test_a_setting_that_nothing_reads_says_so() -> None:
    sources = [p for room in ("obsvty", "mcp_server") for p in (ROOT / room).rglob("*.py")]
    code = "\n".join(p.read_text(encoding="utf-8") for p in sources if p.name != "settings.py")
    code += "self.store.dir"  # read by the settings themselves, in `data_dir`
    unread: set[str] = set()
    for key in documented():
        section, _, name = key.rpartition(".")
        if not re.search(rf"\b{re.escape(ALIASES.get(section, section))}\.{name}\b", code):
            unread.add(key)
    assert unread == {key for key, (_, _, text) in documented().items() if text.endswith("Not applied yet.")}


def test_the_example_file_is_valid(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    file = tmp_path / "obsvty.toml"
    file.write_text(example[1], encoding="utf-8")
    settings = load_settings(file)
    assert settings.git.services["payments"].repo == "/src/payments"
    assert settings.alerts.to == ("log", "slack")
