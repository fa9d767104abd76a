"""The steps of the schema."""

from store.migrate import migrations


def test_every_step_has_a_number_of_its_own():
    """Two steps of one number would leave one of them out of every store, unseen."""
    numbers = [step.version for step in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
