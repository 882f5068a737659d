from __future__ import annotations

import math

import pytest

from tfrun.config.types import check_value
from tfrun.errors import ConfigError


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        ("float", 3, 3.0),
        ("int", 3, 3),
        ("bool", True, True),
        ("str", "a", "a"),
        ("Annotated[float, Gt(0), Le(1)]", 1, 1.0),
        ("Annotated[int, Interval(ge=1, lt=3)]", 2, 2),
        ("Annotated[int, annotated_types.MultipleOf(4)]", 8, 8),
        ("int | None", None, None),
        ("Optional[float]", 2, 2.0),
        ("Union[int, str]", "a", "a"),
        ("'int | None'", 3, 3),
        ("Literal['a', 'b'] | list[str]", ["c"], ["c"]),
        ("Literal[1, 2]", 2, 2),
        ("list[float]", [1, 2.5], [1.0, 2.5]),
        ("tuple[int, ...]", [1, 2], (1, 2)),
        ("tuple[int, float]", [1, 2], (1, 2.0)),
        ("dict[str, Any]", {"a": [1]}, {"a": [1]}),
        ("keras.Model", 3, 3),
        ("Any", math.inf, math.inf),
    ],
)
def test_accepts(annotation: str, value: object, expected: object) -> None:
    result = check_value(annotation, value, where="key")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("int", True),
        ("int", 1.0),
        ("int", None),
        ("bool", 1),
        ("float", True),
        ("float", "1.0"),
        ("float", math.nan),
        ("float", -math.inf),
        ("float", 10**400),
        ("str", 1),
        ("Annotated[float, Gt(0)]", 0),
        ("Annotated[float, Ge(0), Lt(1)]", 1),
        ("Annotated[int, Ge(1)] | None", 0),
        ("Literal[1]", True),
        ("list[int]", [1, "a"]),
        ("list[int]", "1"),
        ("tuple[int, int]", [1]),
        ("dict[str, int]", {"a": "b"}),
    ],
)
def test_refuses(annotation: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"^loss\.key: must be .*Received: "):
        check_value(annotation, value, where="loss.key")


def test_without_annotation_the_default_says_the_type() -> None:
    assert check_value(None, 2, where="key", default=1.0) == 2.0
    assert check_value(None, {"any": "thing"}, where="key", default=None) == {"any": "thing"}
    with pytest.raises(ConfigError, match="a whole number"):
        check_value(None, 0.5, where="key", default=1)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        ("Annotated[float, Gt(0), Le(1)]", 2, "key: must be a finite number > 0 and <= 1. Received: 2."),
        (
            "Literal['min', 'max'] | None",
            "mix",
            "key: must be one of 'min', 'max', or null. Received: 'mix'. Did you mean 'min'?",
        ),
        ("list[Annotated[int, Ge(1)]]", [0], "key: must be a list, each a whole number >= 1. Received: [0]."),
        (
            "list[str]",
            [-7, "x"],
            "key: must be a list, each text. Received: [-7, 'x']. "
            """Text that looks like a number needs quotes: key="['-7','x']".""",
        ),
        ("str", 7, """key: must be text. Received: 7. Text that looks like a number needs quotes: key="'7'"."""),
    ],
)
def test_message(annotation: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_value(annotation, value, where="key")
    assert str(error.value) == message
