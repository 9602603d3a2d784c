"""What README shows works as shown."""

import re
from pathlib import Path

from bnexp.claims.parse import parse_claims
from bnexp.cli import main
from bnexp.experiments import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_is_read_expanded_and_claimed_about(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "experiments.yaml").write_text("\n".join(blocks))
    file = load(tmp_path / "experiments.yaml")
    trials = file.experiments["momentum"].expand()
    assert len({trial.config for trial in trials}) == 70 and len(file.experiments["momentum"].tuning_trials()) == 105
    assert {trial.variant for trial in trials} == {"gentle", "harsh", ""}
    [claim] = parse_claims(file).values()
    assert claim.experiment == "momentum"


def test_every_command_is_named() -> None:
    """In README, or in the reference."""
    pages = README + (ROOT / "docs" / "reference.md").read_text()
    named = set(re.findall(r"`bnexp ([a-z]+)", pages)) | set(re.findall(r"^    bnexp ([a-z]+)", pages, re.MULTILINE))
    assert named == set(main.commands)
