"""Every scheme of addresses keeps what it declares, and the docs name it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from modelgif.loading import schemes
from modelgif.loading.address import parse_address, parse_architecture
from modelgif.loading.errors import UntrustedError
from modelgif.loading.load import load_model
from modelgif.loading.scheme import Scheme
from modelgif.loading.schemes import all_schemes, find_scheme, scheme_names

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "addresses.md"
SCHEMES = {scheme.name: scheme for scheme in all_schemes()}


def documented(text: str) -> dict[str, int]:
    """The schemes of the addresses in the first column of a page's tables, with their lines."""
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("|"):
            for scheme in re.findall(r"`(\w+):[^`]*`", line.split("|")[1]):
                found.setdefault(scheme, number)
    return found


def differences(text: str, names: tuple[str, ...]) -> list[str]:
    """What a page of addresses lacks or has too much, one sentence each, with the place."""
    found = documented(text)
    return [
        f"docs/addresses.md has no row for {name}:, which modelgif/loading/schemes/{name}.py "
        f"declares: add | `{SCHEMES[name].example}` | {SCHEMES[name].summary} |"
        for name in names
        if name not in found
    ] + [
        f"docs/addresses.md, line {line}, documents {name}:, and there is no "
        f"modelgif/loading/schemes/{name}.py"
        for name, line in found.items()
        if name not in names
    ]


def test_the_page_documents_the_schemes_that_there_are() -> None:
    assert differences(PAGE.read_text(encoding="utf-8"), scheme_names()) == []


def test_a_page_that_is_not_up_to_date_is_noticed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (lacking,) = differences(text.replace("`hub:", "`no `"), scheme_names())
    assert "no row for hub:, which modelgif/loading/schemes/hub.py declares" in lacking
    line = documented(text)["hub"]
    (extra,) = differences(text, tuple(name for name in scheme_names() if name != "hub"))
    assert f"line {line}, documents hub:, and there is no modelgif/loading/schemes/hub.py" in extra


@pytest.mark.parametrize("address", re.findall(r"^\| `([^`]+)`", PAGE.read_text("utf-8"), re.M))
def test_the_addresses_of_the_page_are_well_formed(address: str) -> None:
    assert parse_address(address).scheme in SCHEMES


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_a_scheme_keeps_what_it_declares(scheme: Scheme) -> None:
    address = parse_address(scheme.example)
    assert address.scheme == scheme.name
    assert scheme.summary
    assert "\n" not in scheme.summary
    assert (scheme.needs_trust == "in a card") == (scheme.check_card is not None)
    # A card that could name code with no check would run it.
    assert scheme.needs_trust != "always" or not scheme.is_architecture
    assert bool(scheme.library) == bool(scheme.extra)
    if scheme.trained:
        assert parse_address(f"{scheme.name}:x?{scheme.trained}").asks_for_trained_weights
    assert not parse_address(f"{scheme.name}:x").asks_for_trained_weights
    assert parse_address(f"{scheme.name}:a/b.c").short_name == ("b" if scheme.is_path else "a/b.c")


@pytest.mark.parametrize("name", [s.name for s in SCHEMES.values() if not s.is_architecture])
def test_cards_name_architectures_only(name: str) -> None:
    *others, last = (f"{s.name}:" for s in SCHEMES.values() if s.is_architecture)
    message = f"the architecture must begin with {', '.join(others)} or {last}, got "
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_architecture(SCHEMES[name].example)


@pytest.mark.parametrize("name", [s.name for s in SCHEMES.values() if s.needs_trust == "always"])
def test_code_runs_only_with_trust(name: str) -> None:
    with pytest.raises(UntrustedError, match=rf"{name}:.* is refused: .*trust=\("):
        load_model(SCHEMES[name].example, download=True)


@pytest.mark.parametrize("name", [s.name for s in SCHEMES.values() if s.needs_trust != "never"])
def test_the_page_of_security_names_what_needs_trust(name: str) -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert f"`{name}:`" in text, f"docs/security.md must say that {name}: runs its maker's code"


@pytest.mark.parametrize("name", [s.name for s in SCHEMES.values() if s.library])
def test_a_missing_library_is_named_with_its_extra(name: str, monkeypatch) -> None:
    scheme = SCHEMES[name]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert scheme.extra in project["optional-dependencies"]
    monkeypatch.setitem(sys.modules, scheme.library, None)
    message = f"{name}: addresses need {scheme.library}: pip install 'modelgif[{scheme.extra}]'"
    with pytest.raises(ImportError, match=re.escape(message)):
        load_model(scheme.example)


def test_a_module_that_declares_no_scheme_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "hollow.py").write_text("")
    monkeypatch.setattr(schemes, "__path__", [*schemes.__path__, str(tmp_path)])
    with pytest.raises(LookupError, match=r"schemes\.hollow must declare SCHEME.*got None"):
        find_scheme.__wrapped__("hollow")


@pytest.mark.slow
def test_no_optional_library_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys; import modelgif.loading.load;"
        "from modelgif.loading.schemes import all_schemes; all_schemes(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert "modelgif.loading.schemes.hf" in loaded, done.stderr
    assert not loaded & {"timm", "transformers", "huggingface_hub"}


@pytest.mark.slow
def test_parsing_an_address_imports_its_own_scheme_alone() -> None:
    code = (
        "import sys; from modelgif.loading.address import parse_address; before = set(sys.modules);"
        "parse_address('hub:a/b:c').asks_for_trained_weights; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    new = {name for name in done.stdout.split() if name.startswith("modelgif.loading.schemes.")}
    assert new == {"modelgif.loading.schemes.hub"}, done.stderr
