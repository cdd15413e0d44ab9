"""The bar of long commands."""

import pytest

from data_tools.progress import track


@pytest.mark.parametrize("title", ["m[a]", "[/such]", "[bold]m"])
def test_brackets_in_a_name_are_shown(
    title: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    assert list(track([1, 2], title, done_before=3)) == [1, 2]
    shown = capsys.readouterr().err
    assert title in shown
    assert "5/5" in shown
