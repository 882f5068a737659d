from __future__ import annotations

import pytest

from tfrun.config.overrides import parse, rewrite
from tfrun.errors import ConfigError


class Groups:
    """Three config groups, one of which no section of the config has."""

    known = {"loss": ["huber", "mse"], "experiment": ["wide_deep_huber"], "local": ["here"]}

    def is_group(self, key: str) -> bool:
        return key in self.known

    def options(self, group: str) -> list[str]:
        return self.known[group]


def test_parse_gives_hydras_overrides() -> None:
    (override,) = parse(["a.b=[1,x]"])
    assert (override.key_or_group, override.value()) == ("a.b", [1, "x"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=1", "++seed=1"),  # whether the key exists is for the schema to say
        ("+seed=1", "+seed=1"),
        ("++seed=1", "++seed=1"),
        ("~seed", "~seed"),
        ("loss=mse", "loss=mse"),
        ("+loss=mse", "loss=mse"),
        ("+experiment=wide_deep_huber", "experiment=wide_deep_huber"),
        ("+local=here", "+local=here"),  # not in the defaults list, so Hydra wants the +
        ("loss=[huber,mse]", "loss=[huber,mse]"),
        ("loss=null", "~loss"),
        ("loss={name:mse}", "++loss={name:mse}"),
        ("loss@other=mse", "loss@other=mse"),
        ("hydra.verbose=true", "hydra.verbose=true"),
        ("hydra/launcher=fork", "hydra/launcher=fork"),
        ("hydra.sweeper.params={seed:1}", "++hydra.sweeper.params={seed:1}"),
        ("+hydra.sweeper.params={seed:1}", "++hydra.sweeper.params={seed:1}"),
    ],
)
def test_an_override_is_rewritten_for_hydra(text: str, expected: str) -> None:
    assert rewrite([text], Groups()) == [expected]


def test_several_values_are_for_a_sweep_only() -> None:
    assert rewrite(["+loss=huber,mse", "seed=1,2"], Groups(), is_sweep=True) == ["loss=huber,mse", "++seed=1,2"]
    with pytest.raises(ConfigError, match=r"^seed: several values are a sweep and need -m; a list needs brackets"):
        rewrite(["seed=1,2"], Groups())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss=3", "^loss: unknown option. Received: '3'. Known: huber, mse."),
        ("hydra.run.dir=x", r"^hydra\.run\.dir: tfrun names and claims run folders itself"),
        ("x={", r"^'x=\{': not an override at character 4: .*Quote special characters"),
        ("loss", "^'loss': not an override: expected key=value$"),
        (
            "data.limit_rows=choice(null, 30)",
            r"^data\.limit_rows: choice takes no null. Received: 'choice\(null, 30\)'. "
            "Write the values without it: data.limit_rows=null,30$",
        ),
        ("+a=tag(x,sort(1,null))", "^a: sort takes no null. .*: a=1,null$"),
        ("a=choise(1,2)", "^a: unknown function. Received: 'choise'. Known: bool, choice, .*Did you mean 'choice'"),
        ("a=hello (world)", "^a: unknown function. .*Text with parentheses needs quotes"),
        ("a=interval(1)", r"^a: interval\(start, end\): missing a required argument: 'end'. Received: 'interval\(1\)'"),
        ("a=interval(x,2)", r"^a: interval\(start, end\): start can't be text. Received: 'interval\(x,2\)'"),
        ("a=float(null)", r"^a: float\(\.\.\., value\): its argument can't be converted"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rewrite([text], Groups())
