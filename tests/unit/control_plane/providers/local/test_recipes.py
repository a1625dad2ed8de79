import dataclasses

import pytest

from control_plane.providers.local.recipes import BOOKWORM, TRIXIE, Recipe

RECIPE = Recipe("name", "bookworm", ("one",))


@pytest.mark.parametrize(
    "changed",
    [
        dataclasses.replace(RECIPE, suite="trixie"),
        dataclasses.replace(RECIPE, packages=("one", "two")),
        dataclasses.replace(RECIPE, files=(("/a", "b"),)),
        dataclasses.replace(RECIPE, commands=(("true",),)),
    ],
)
def test_any_change_of_a_recipe_makes_another_image(changed: Recipe) -> None:
    assert changed.digest != RECIPE.digest


def test_the_same_recipe_is_the_same_image() -> None:
    assert Recipe("name", "bookworm", ("one",)).digest == RECIPE.digest


def test_images_are_told_apart_by_name() -> None:
    assert BOOKWORM.digest.startswith("bookworm-")
    assert TRIXIE.digest.startswith("trixie-")
