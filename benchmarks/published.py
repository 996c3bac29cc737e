"""What others published, on machines of theirs; quoted, not measured here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published time.

    Attributes
    ----------
    system, task, source : str
        Who fitted what, and where it is written.
    rows : int
        Rows of the data.
    seconds : float
        Time of the fit.
    remarks : str
        What else was said about it.
    """

    system: str
    task: str
    source: str
    rows: int
    seconds: float
    remarks: str = ""

    def __str__(self) -> str:
        remarks = f" ({self.remarks})" if self.remarks else ""
        return (
            f"published, another machine: {self.system}, {self.task}: "
            f"{self.seconds:,} s{remarks}; {self.source}"
        )


MOVIELENS = Published(
    system="MixedModels.jl",
    task="MovieLens ml-32m, 32,000,204 rows, 200,948 x 84,432 levels",
    source="Alday, Kliegl and Bates, Embrace Uncertainty, chapter on observational studies",
    rows=32_000_204,
    seconds=18_740,
    remarks="56.2 GiB of a 96 GiB machine, 8 threads",
)

SLOPES = Published(
    system="clubbed variational EM",
    task="crossed random slopes, 1.58 million rows",
    source="Ghandwani, Ghosh, Hastie and Owen, arXiv:2307.12378",
    rows=1_580_000,
    seconds=21.2,
)
