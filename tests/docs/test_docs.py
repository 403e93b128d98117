"""The documents name everything that there is: routes, error codes, metrics, commands, options, modules, packages."""

import re
import tomllib
from pathlib import Path

import click

from omlx.access.access import Access
from omlx.access.access_file import AccessFile
from omlx.access.usage import KeyUsage
from omlx.api.errors import _UNEXPECTED, ERRORS
from omlx.api.openai import UNSUPPORTED
from omlx.app import create_app
from omlx.benchmark.bench import Bench
from omlx.cli import main
from omlx.downloads import refusals
from omlx.metrics.page import page as metrics_page
from tests.fakes.download_service import FakeDownloads
from tests.fakes.services import FakeServices

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOR_ONE_CALL = {
    "--json",
    "--source",
    "--revision",
    "--name",
    "--allow",
    "--ignore",
    "--sort",
    "--limit",
    "--all",
    "--bits",
    "--group-size",
    "--mode",
    "--dtype",
    "--yes",
    "--force",
    "--admin",
    "--requests-per-minute",
    "--concurrent-requests",
    "--tokens-per-day",
}  # what nobody would want for every call, so no variable has it


def text(name):
    return (ROOT / name).read_text()


def test_every_route_is_documented(tmp_path):
    rules = {"access": Access(AccessFile(tmp_path)), "usage": KeyUsage(tmp_path)}
    bench = Bench(FakeServices(), tmp_path)
    paths = create_app(FakeServices(), downloads=FakeDownloads(), benchmarks=bench, log_dir=ROOT, **rules).openapi()["paths"]
    routes = {f"`{method.upper()} {path}`" for path, methods in paths.items() for method in methods}
    assert len(routes) >= 6
    assert [route for route in sorted(routes) if route not in text("docs/api.md")] == []


def test_every_error_code_is_documented():
    codes = {kind.code for kind in ERRORS.values()}
    sources = "".join(file.read_text() for file in [*(ROOT / "omlx/api").glob("*.py"), ROOT / "omlx/benchmark/errors.py"])
    codes |= set(re.findall(r'code(?:: str)? ?= ?"(\w+)"', sources))  # given by keyword or by default
    codes |= set(re.findall(r'"([a-z]+_[a-z_]+)"', re.search(r"codes = {.*?}\n.*?get\(.*?\)\)", sources, re.DOTALL).group()))
    codes |= {code for _, code in refusals._KINDS.values()}
    codes |= {_UNEXPECTED.code, UNSUPPORTED}
    assert len(codes) >= 14
    assert [code for code in sorted(codes) if f"`{code}`" not in text("docs/api.md")] == []


def test_the_page_of_the_metrics_is_the_table_s():
    assert text("docs/metrics.md") == metrics_page(), "run `python -m omlx.metrics.page > docs/metrics.md`"


def commands(group, name="omlx"):
    """Every command that does something, by its full name."""
    for word, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


def test_every_command_and_option_is_documented_with_its_variable():
    page = text("docs/cli.md")
    named = dict(commands(main))
    assert {"omlx serve", "omlx settings get"} <= set(named)
    for name, command in named.items():
        section = re.search(rf"^## `{name}\b.*?(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
        assert section is not None, name
        for option in command.params:
            if isinstance(option, click.Option):
                flag = option.opts[0]
                assert f"`{flag}" in section.group(), f"{name} {flag}"
                if flag not in FOR_ONE_CALL:
                    variables = [option.envvar] if isinstance(option.envvar, str) else option.envvar
                    assert [each for each in variables if f"`{each}`" not in page] == []
                    assert variables[0] == "OMLX_" + flag.strip("-").upper().replace("-", "_")


def test_every_module_has_its_line_in_the_architecture():
    page = text("docs/architecture.md")
    missing = []
    for package in ("scheduler", "actors", "omlx"):
        for file in (ROOT / package).rglob("*.py"):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            short = f"`.{file.stem}`" if module.startswith("omlx.api") else None
            if file.stem != "__init__" and f"`{module}`" not in page and (short is None or short not in page):
                missing.append(module)
    assert missing == []


def test_every_module_that_the_architecture_names_exists():
    named = re.findall(r"^\| `([a-z_.]+)`", text("docs/architecture.md"), re.MULTILINE)
    assert len(named) > 30
    assert [name for name in named if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []


def test_every_dependency_has_its_reason():
    names = {re.match(r"[\w-]+", line).group() for line in PROJECT["dependencies"]}
    page = text("docs/dependencies.md")
    assert [name for name in sorted(names) if f"| {name} |" not in page] == []


def test_versions_are_pinned_by_name_alone():
    lines = [line for line in text("constraints.txt").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!-]+", line)] == []
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    wanted = {re.match(r"[\w-]+", line).group().lower().replace("_", "-") for line in PROJECT["dependencies"]}
    assert wanted <= pinned


def test_links_between_documents_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks/README.md"]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
