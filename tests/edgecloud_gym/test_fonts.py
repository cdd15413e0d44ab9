"""Names in scripts that the usual font lacks: another font draws them, or nobody complains."""

import warnings
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from edgecloud_gym import fonts

RARE = "\u20d2"  # STIX has it, DejaVu does not


def draw(text: str, path: Path) -> None:
    figure = Figure()
    figure.add_subplot().set_title(text)
    figure.savefig(path)


def test_characters_that_no_font_has_are_boxes_without_warnings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fonts, "_OF_OTHER_SCRIPTS", ())
    with fonts.any_script():
        draw(RARE, tmp_path / "a.png")
    with pytest.warns(UserWarning, match="Glyph"):
        draw(RARE, tmp_path / "a.png")


def test_another_font_draws_what_the_usual_one_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fonts, "_OF_OTHER_SCRIPTS", ("No Such Font", "STIXGeneral"))
    with fonts.any_script(), warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(f"mine {RARE}", tmp_path / "a.png")
