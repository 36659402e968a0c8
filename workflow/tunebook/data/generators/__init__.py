"""Seeded generators of synthetic data: `rows` and `seed` alone decide the rows that come back."""

from collections.abc import Callable

from tunebook.data.generators import clinical, financial

GENERATORS: dict[str, Callable[..., list[dict[str, str]]]] = {
    "financial-statements": financial.generate,
    "clinical-vignettes": clinical.generate,
}
