"""The reference page is made from the code, and says so when it is not."""

from crucible.localnet.fault_table import FAULTS
from crucible.localnet.reference import filled


def test_the_tables_of_the_page_are_those_of_the_code(pytestconfig):
    text = (pytestconfig.rootpath / "docs" / "reference" / "localnet.md").read_text()
    assert filled(text) == text, "run python -m crucible.localnet.reference docs/reference/localnet.md"
    assert all(f"| `{name}` |" in text for name in FAULTS)


def test_every_fault_says_in_one_line_what_happens():
    for name, kind in FAULTS.items():
        assert kind.name == name
        assert 10 < len(kind.text) < 90
        assert not kind.text.endswith(".")
        assert (kind.default is None) == (not kind.value)
