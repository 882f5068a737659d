"""What quantizing has changed, as a sentence."""

from __future__ import annotations

from typing import Any

from tfrun.files.exports import Quantized
from tfrun.reports.quantization import sentence_on_quantized


def test_the_sentence_says_how_a_drop_is_counted() -> None:
    numbers: dict[str, Any] = {"sizes": (136_144, 48_992), "milliseconds": (0.01497, 0.01351)}
    assert sentence_on_quantized(Quantized("int8", "mae", False, (36_484.3, 36_594.0), 2064, **numbers)) == (
        "int8: mae 36594 on 2,064 test rows, 36484.3 in float32 (a drop of 0.30 %); 49 kB instead of 136; "
        "0.0135 ms a row instead of 0.015"
    )
    sentence = sentence_on_quantized(Quantized("float16", "accuracy", True, (0.991, 0.9905), 180, **numbers))
    assert sentence.startswith("float16: accuracy 0.9905 on 180 test rows, 0.991 in float32 (a drop of 0.0005); 49 kB")
    better = sentence_on_quantized(Quantized("float16", "mae", False, (2.0, 1.5), 180, **numbers))
    assert better.startswith("float16: mae 1.5 on 180 test rows, 2 in float32 (no drop); 49 kB")
