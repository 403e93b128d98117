"""What is printed and what is kept."""

import json

from benchmarks import report
from benchmarks.bench_serving import ratios


def test_a_table_lines_names_up_on_the_left_and_numbers_on_the_right():
    assert report.table(["who", "tokens/s", "errors"], [["omlx", 1234.5, 0], ["mlx-lm", None, 12]]).splitlines() == [
        "who     tokens/s  errors",
        "omlx       1,234       0",
        "mlx-lm         -      12",
    ]


def test_a_result_ends_with_its_document_and_is_kept_with_its_text(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    document = report.new_document("nothing", rounds=3) | {"figure": 1}
    kept = report.finish(document, "one figure", keep=True)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == document
    assert json.loads(kept.read_text()) == document
    assert kept.with_suffix(".txt").read_text() == "one figure\n"
    assert kept.name == f"{document['machine']['date']}-nothing.json"


def test_results_of_different_models_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    kept = [report.save("it", report.new_document("it", model=model), "").name for model in ("one", "two.5b")]
    assert [name.partition("-it-")[2] for name in kept] == ["one.json", "two.5b.json"]


def test_nothing_is_kept_unasked(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    assert report.finish(report.new_document("nothing"), "", keep=False) is None
    assert list(tmp_path.iterdir()) == []


def test_ratios_are_ours_to_theirs_and_none_without_a_figure():
    keys = ("tokens_per_second", "ttft_p50", "itl_p99", "goodput")
    ours = {"load": "8 clients", "server": "omlx"} | dict.fromkeys(keys, 2.0)
    theirs = {"load": "8 clients", "server": "mlx-lm"} | dict.fromkeys(keys, 4.0) | {"itl_p99": None, "goodput": 0.0}
    (row,) = ratios([ours, theirs])
    assert row == {
        "load": "8 clients",
        "to": "mlx-lm",
        "tokens_per_second": 0.5,
        "ttft_p50": 0.5,
        "itl_p99": None,
        "goodput": None,
    }


def test_a_result_says_by_which_command_it_came(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/benchmarks/many_models.py", "--seconds", "3"])
    assert report.new_document("anything")["command"] == "python -m benchmarks.many_models --seconds 3"
