"""From a file to points: axes, exclusions, explicit points, overrides, and what is refused."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.source import ConfigError
from experiments.sweep.expand import load_experiment
from experiments.sweep.run import MANY, Options, SweepError, dry_run
from experiments.sweep.tasks import checked

HEAD = "name: one\nquestion: Why?\nkind: plan\ngraph: {family: chain, length: 8}\n"
CONFIGS = Path(__file__).parents[3] / "configs/experiments"


def points(folder, text, *overrides):
    path = folder / "one.yaml"
    path.write_text(HEAD + text)
    return list(load_experiment(path, overrides).points())


def changes(folder, text, *overrides):
    return [point.changes for point in points(folder, text, *overrides)]


def test_every_list_is_an_axis_and_the_last_moves_fastest(tmp_path):
    text = "sweep:\n  policy: [auto, sqrt]\n  budget: {fraction: [0.3, 0.5]}\n"
    assert changes(tmp_path, text) == [
        {"policy": "auto", "budget.fraction": 0.3},
        {"policy": "auto", "budget.fraction": 0.5},
        {"policy": "sqrt", "budget.fraction": 0.3},
        {"policy": "sqrt", "budget.fraction": 0.5},
    ]


def test_a_point_holds_its_values_where_the_keys_say(tmp_path):
    (point,) = points(tmp_path, "sweep: {graph.length: [3]}\npolicy: sqrt\n")
    assert point.config == {
        "kind": "plan", "graph": {"family": "chain", "length": 3}, "policy": "sqrt",
    }  # fmt: skip


def test_no_axis_is_one_point(tmp_path):
    assert changes(tmp_path, "") == [{}]


def test_explicit_points_stand_beside_the_product_or_alone(tmp_path):
    extra = "points:\n  - {policy: dtr, seed: 3}\n"
    assert changes(tmp_path, extra) == [{"policy": "dtr", "seed": 3}]
    assert changes(tmp_path, "sweep: {seed: [1]}\n" + extra) == [
        {"seed": 1}, {"policy": "dtr", "seed": 3},
    ]  # fmt: skip


def test_an_explicit_point_of_the_product_is_not_made_twice(tmp_path):
    assert len(points(tmp_path, "sweep: {seed: [1, 2]}\npoints: [{seed: 2}]\n")) == 2


def test_exclusions_match_values_and_lists_of_them(tmp_path):
    text = (
        "sweep: {policy: [auto, sqrt, dtr], seed: [1, 2]}\n"
        "exclude:\n  - {policy: [sqrt, dtr], seed: 2}\n  - {policy: auto, graph.length: 9}\n"
    )
    assert [(c["policy"], c["seed"]) for c in changes(tmp_path, text)] == [
        ("auto", 1), ("auto", 2), ("sqrt", 1), ("dtr", 1),
    ]  # fmt: skip


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True), max_size=4),
    st.lists(st.integers(0, 9), max_size=3, unique=True),
)
def test_the_product_less_the_exclusions(tmp_path_factory, axes, excluded):
    folder = tmp_path_factory.mktemp("axes")
    names = [f"a{i}" for i in range(len(axes))]
    text = "sweep:" + ("\n" if axes else " {}\n")
    text += "".join(f"  {name}: {values}\n" for name, values in zip(names, axes, strict=True))
    text += f"exclude: [{{a0: {excluded}}}]\n"
    wanted = [p for p in itertools.product(*axes) if not p or p[0] not in excluded]
    found = points(folder, text)
    assert [tuple(p.changes.values()) for p in found] == wanted
    assert len({point.id for point in found}) == len(wanted)


def test_limits_do_not_change_what_a_point_is(tmp_path):
    (slow,), (quick,) = points(tmp_path, "time_limit: 9s\n"), points(tmp_path, "time_limit: 1s\n")
    (other,) = points(tmp_path, "work: 7\n")
    assert slow.id == quick.id != other.id


def test_overrides(tmp_path):
    text = "sweep: {policy: [auto, sqrt], seed: [1, 2]}\n"
    assert changes(tmp_path, text, "policy=[dtr]", "seed=5") == [{"policy": "dtr"}]
    (point,) = points(tmp_path, text, "policy=[dtr]", "seed=5", "budget.fraction=0.5")
    assert point.config["seed"] == 5
    assert point.config["budget"] == {"fraction": 0.5}
    assert changes(tmp_path, "", "sweep.graph.length=[4, 5]") == [
        {"graph.length": 4}, {"graph.length": 5},
    ]  # fmt: skip


def test_a_nested_axis_is_replaced_too(tmp_path):
    text = "sweep: {budget: {fraction: [0.3, 0.5]}}\n"
    assert changes(tmp_path, text, "budget.fraction=[0.9]") == [{"budget.fraction": 0.9}]


def test_what_must_be_given(tmp_path):
    text = "policy: ???\n"
    with pytest.raises(ConfigError, match=r"one.yaml:5: policy: must be given: add policy=VALUE"):
        points(tmp_path, text)
    (point,) = points(tmp_path, text, "policy=sqrt")
    assert point.config["policy"] == "sqrt"


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("sweep: {seed: []}\n", [], "one.yaml:5: sweep.seed: this axis has no values"),
        ("sweep: {seed: 3}\n", [], "one.yaml:5: sweep.seed: an axis is a list"),
        ("sweep: [1]\n", [], "one.yaml:5: sweep: "),
        ("colour: red\n", [], "one.yaml:5: colour: unknown key"),
        ("polcy: auto\n", [], "did you mean 'policy'?"),
        ("sweep: {polcy: [auto]}\n", [], "one.yaml:5: polcy: unknown key: did you mean 'policy'?"),
        ("sweep:\n  seed: [1, two]\n", [], "one.yaml:6: seed: "),
        ("policy: best\n", [], "there is no policy 'best'"),
        ("policy: {keep: '('}\n", [], "not a regular expression"),
        ("budget: 10 XB\n", [], "one.yaml:5: budget: unknown unit 'XB'"),
        ("budget: {peak_of: sqrt, fractoin: 1}\n", [], "did you mean 'fraction'?"),
        ("time_limit: 3 days\n", [], "one.yaml:5: time_limit: unknown unit 'days'"),
        ("memory_limit: lots\n", [], "not a number of bytes"),
        ("link: fast\n", [], "not a rate"),
        ("references: [{name: a, source: b, metric: c}]\n", [], "give either values or against"),
        ("report: {plots: [{title: a}]}\n", [], "needs x and y"),
        ("", ["seed"], "command line:1: seed: must be key=value"),
        ("", ["seed=1", "sed=2"], "command line:2: sed: unknown key: did you mean 'seed'?"),
        ("", ["seed=[1"], "not YAML"),
        ("", ["seed=!!python/object:os.system"], "plain data only"),
        ("seed: 3\n", ["seed.more=1"], "command line:1: seed.more: seed is not a mapping"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, overrides, said):
    with pytest.raises(ConfigError) as caught:
        checked(points(tmp_path, text, *overrides))
    assert said in str(caught.value)


def test_a_key_of_another_kind_of_point_is_not_suggested(tmp_path):
    with pytest.raises(ConfigError, match="graph: unknown key; known keys: budget, data, kind,"):
        checked(points(tmp_path, "", "kind=train", "graph.length=3"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: one\nkind: plan\n", "'question' is missing"),
        ("question: Why?\nkind: plan\n", "'name' is missing"),
        ("name: ../one\nquestion: Why?\nkind: plan\n", "one.yaml:1: name: "),
        ("- 1\n", "an experiment is a mapping"),
        ("name: one\nquestion: Why?\nkind: dance\n", "the alternative 'dance'"),
        ("a: &a [x]\nb: [*a, *a]\n", "aliases"),
        ("a: !!python/object/apply:os.system ['true']\n", "plain data only"),
        ("a: " + "[" * 4000 + "]" * 4000 + "\n", "nested too deeply"),
        ("a: " + "x" * (5 << 20), "larger than"),
        ("ref: other.yaml\n", "there is no file"),
    ],
)
def test_files_that_are_no_experiments(tmp_path, text, said):
    path = tmp_path / "one.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        checked(list(load_experiment(path).points()))


def test_files_that_refer_to_each_other_many_times_end(tmp_path):
    for i in range(12):  # without a limit, 4 ** 12 files
        four = "".join(f"k{j}: {{ref: f{i + 1}.yaml}}\n" for j in range(4))
        (tmp_path / f"f{i}.yaml").write_text(four)
    (tmp_path / "f12.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match="more than 500 files"):
        load_experiment(tmp_path / "f0.yaml")


def test_a_million_points_are_asked_about(tmp_path):
    path = tmp_path / "one.yaml"
    ten = list(range(10))
    axes = "".join(f"  a{i}: {ten}\n" for i in range(6))
    path.write_text(HEAD + "sweep:\n" + axes)
    with pytest.raises(SweepError, match=r"1,000,000 points \(10 a0 x 10 a1 x "):
        dry_run(path, (), Options())
    assert load_experiment(path).n_points > MANY


def test_a_dry_run_lists_and_estimates_and_runs_nothing(tmp_path, capsys, monkeypatch):
    path = tmp_path / "one.yaml"
    path.write_text(HEAD + "work: 3000\nsweep: {seed: [1, 2]}\n")
    monkeypatch.chdir(tmp_path)
    assert dry_run(path, (), Options(jobs=2)) == 0
    said = capsys.readouterr().out
    assert "seed=1" in said
    assert "seed=2" in said
    assert "2 points: at most 4.00 s with 2 at once" in said
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_the_experiments_of_this_repository(path):
    given = ["graph.folder=."] if "???" in path.read_text() else []
    experiment = load_experiment(path, given)
    assert experiment.header.name == path.stem
    assert checked(list(experiment.points()))
    for references in experiment.header.references:
        assert references.source
