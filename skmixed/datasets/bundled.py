"""Data sets that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

INSTEVAL_FEATURES = ("s", "d", "studage", "lectage", "service", "dept")
INSTEVAL_GROUPS = frozenset(("s", "d", "dept"))
INSTEVAL_TARGET = "y"
INSTEVAL_PLAIN_NAMES = {
    "s": "student", "d": "lecturer", "studage": "student_age", "lectage": "lecture_age",
    "service": "service", "dept": "department", "y": "rating",
}  # fmt: skip
"""Names that say what a column is, by those of lme4."""

CBPP_FEATURES = ("herd", "period", "size")
CBPP_CATEGORIES = ("herd", "period")
CBPP_TARGET = "incidence"

GROUSETICKS_FEATURES = ("INDEX", "BROOD", "HEIGHT", "YEAR", "LOCATION")
GROUSETICKS_CATEGORIES = ("INDEX", "BROOD", "YEAR", "LOCATION")
GROUSETICKS_TARGET = "TICKS"

SLEEPSTUDY_FEATURES = ("Days", "Subject")
SLEEPSTUDY_CATEGORIES = ("Subject",)
SLEEPSTUDY_TARGET = "Reaction"


def load_insteval(
    *, as_frame: bool = True, return_X_y: bool = False, names: Literal["lme4", "plain"] = "lme4"
) -> Any:
    """Load the InstEval lecture ratings (regression, crossed groups).

    73,421 ratings from 1 to 5 that 2,972 students (`s`) of ETH Zurich gave to
    1,128 instructors (`d`) of 14 departments (`dept`): the example of
    partially crossed random effects that comes with the R package lme4.

    Parameters
    ----------
    as_frame : bool, default=True
        True: a DataFrame and a Series. The three identifiers are categorical columns of integers
        and the other columns are integers, so ``random_effects="from_dtype"`` groups by students,
        instructors and departments. False: arrays of integers.
    return_X_y : bool, default=False
        Give ``(data, target)`` instead of a Bunch.
    names : {"lme4", "plain"}, default="lme4"
        Names of the columns: those of lme4, or `student`, `lecturer`, `student_age`,
        `lecture_age`, `service`, `department` and `rating`.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : DataFrame or ndarray of shape (73421, 6)
            The columns `s`, `d`, `studage`, `lectage`, `service`, `dept`.
        target : Series or ndarray of shape (73421,)
            The ratings `y`.
        frame : DataFrame of shape (73421, 7) or None
            Data and target together, when ``as_frame=True``.
        feature_names, target_names : list of str
            The names of the columns.
        DESCR : str
            Description, source and licence (GPL >= 2, as lme4).

    (X, y) : tuple
        Only with ``return_X_y=True``.

    References
    ----------
    Bates, Maechler, Bolker and Walker (2015). Fitting Linear Mixed-Effects
    Models Using lme4. Journal of Statistical Software 67(1).
    :doi:`10.18637/jss.v067.i01`

    Examples
    --------
    >>> from skmixed.datasets import load_insteval
    >>> X, y = load_insteval(return_X_y=True)
    >>> X.shape
    (73421, 6)
    >>> X["s"].nunique(), X["d"].nunique(), X["dept"].nunique()
    (2972, 1128, 14)
    >>> int(y.min()), int(y.max())
    (1, 5)
    >>> load_insteval(names="plain").feature_names[:2]
    ['student', 'lecturer']
    """
    if names not in ("lme4", "plain"):
        raise ValueError(f"names={names!r} is not known; choose 'lme4' or 'plain'.")
    folder = resources.files(__package__) / "data"
    with resources.as_file(folder / "insteval.npz") as path, np.load(path) as stored:
        columns: dict[str, NDArray[np.integer]] = {name: stored[name] for name in stored.files}

    features, target_name = list(INSTEVAL_FEATURES), INSTEVAL_TARGET
    shown = dict(zip(columns, columns, strict=True))
    if names == "plain":
        shown = INSTEVAL_PLAIN_NAMES
        features, target_name = [shown[name] for name in features], shown[target_name]
    data: Any
    target: Any
    frame: pd.DataFrame | None = None
    if as_frame:
        frame = pd.DataFrame(
            {
                shown[name]: _as_category(values)
                if name in INSTEVAL_GROUPS
                else values.astype(np.int64)
                for name, values in columns.items()
            }
        )
        # A copy: pandas 2 warns when columns are added to a selection.
        data = frame[features].copy()
        target = frame[target_name]
    else:
        data = np.column_stack([columns[name] for name in INSTEVAL_FEATURES]).astype(np.int64)
        target = columns[INSTEVAL_TARGET].astype(np.int64)

    if return_X_y:
        return data, target
    return _bunch(data, target, frame, tuple(features), target_name, folder / "README.md")


def load_cbpp(*, as_frame: bool = True, return_X_y: bool = False) -> Any:
    """Load the CBPP counts of a cattle disease (cases out of animals, by herd).

    How many of the animals (`size`) of 15 herds (`herd`) fell ill in each of four
    quarters (`period`): the example of a binomial response that comes with the R
    package lme4. The survey is that of Lesnoff and others [1]_.

    Parameters
    ----------
    as_frame : bool, default=True
        Give a DataFrame and a Series, herds and periods as categorical columns of
        integers, the rest as integers. If False: arrays of integers.
    return_X_y : bool, default=False
        Give ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : DataFrame or ndarray of shape (56, 3)
            The columns `herd`, `period`, `size`.
        target : Series or ndarray of shape (56,)
            New cases, `incidence`.
        frame : DataFrame of shape (56, 4) or None
            Data and target together, when ``as_frame=True``.
        feature_names, target_names : list of str
            The names of the columns.
        DESCR : str
            Description, source and licence (GPL >= 2, as lme4).

    (X, y) : tuple
        Only with ``return_X_y=True``.

    References
    ----------
    .. [1] Lesnoff and others (2004). Within-herd spread of contagious bovine
       pleuropneumonia in Ethiopian highlands. Preventive Veterinary Medicine 64,
       27-40.

    Examples
    --------
    >>> from skmixed.datasets import load_cbpp
    >>> frame = load_cbpp().frame
    >>> frame.shape, frame["herd"].nunique()
    ((56, 4), 15)
    >>> int(frame["incidence"].sum()), int(frame["size"].sum())
    (99, 842)
    """
    return _load_table(
        "cbpp", CBPP_FEATURES, CBPP_CATEGORIES, CBPP_TARGET, np.int64, as_frame, return_X_y
    )


def load_grouseticks(*, as_frame: bool = True, return_X_y: bool = False) -> Any:
    """Load the grouse ticks (counts of chicks, by brood and location).

    How many ticks (`TICKS`) 403 red grouse chicks (`INDEX`) of 118 broods (`BROOD`) at 63
    locations (`LOCATION`) had in three years (`YEAR`): an example of overdispersed counts in
    nested groups that comes with the R package lme4. The study is that of Elston and
    others [1]_.

    Parameters
    ----------
    as_frame : bool, default=True
        Give a DataFrame and a Series, chicks, broods, years and locations as categorical
        columns of integers, the rest as integers. If False: arrays of integers.
    return_X_y : bool, default=False
        Give ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : DataFrame or ndarray of shape (403, 5)
            The columns `INDEX`, `BROOD`, `HEIGHT` (metres above sea level), `YEAR` (less
            1900), `LOCATION`.
        target : Series or ndarray of shape (403,)
            Ticks on the head of the chick, `TICKS`.
        frame : DataFrame of shape (403, 6) or None
            Data and target together, when ``as_frame=True``.
        feature_names, target_names : list of str
            The names of the columns.
        DESCR : str
            Description, source and licence (GPL >= 2, as lme4).

    (X, y) : tuple
        Only with ``return_X_y=True``.

    References
    ----------
    .. [1] Elston and others (2001). Analysis of aggregation, a worked example: numbers of
       ticks on red grouse chicks. Parasitology 122(5), 563-569.
       :doi:`10.1017/S0031182001007740`

    Examples
    --------
    >>> from skmixed.datasets import load_grouseticks
    >>> frame = load_grouseticks().frame
    >>> frame.shape, frame["BROOD"].nunique(), frame["LOCATION"].nunique()
    ((403, 6), 118, 63)
    >>> frame["TICKS"].describe()[["mean", "50%", "max"]].round(1).tolist()
    [6.4, 2.0, 85.0]
    """
    return _load_table(
        "grouseticks", GROUSETICKS_FEATURES, GROUSETICKS_CATEGORIES, GROUSETICKS_TARGET, np.int64,
        as_frame, return_X_y,
    )  # fmt: skip


def load_sleepstudy(*, as_frame: bool = True, return_X_y: bool = False) -> Any:
    """Load the sleep study (regression, growth of a response by subject).

    Mean reaction times (`Reaction`, in ms) of 18 subjects (`Subject`) on ten days (`Days`, 0 to 9),
    with three hours in bed per night after day 2: the example of random slopes that comes with the
    R package lme4. The study is that of Belenky and others [1]_.

    Parameters
    ----------
    as_frame : bool, default=True
        Give a DataFrame and a Series, subjects as a categorical column of integers, days
        as integers. If False: arrays, of integers and of floats.
    return_X_y : bool, default=False
        Give ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        data : DataFrame or ndarray of shape (180, 2)
            The columns `Days`, `Subject`.
        target : Series or ndarray of shape (180,)
            Reaction times in milliseconds, `Reaction`.
        frame : DataFrame of shape (180, 3) or None
            Data and target together, when ``as_frame=True``.
        feature_names, target_names : list of str
            The names of the columns.
        DESCR : str
            Description, source and licence (GPL >= 2, as lme4).

    (X, y) : tuple
        Only with ``return_X_y=True``.

    References
    ----------
    .. [1] Belenky and others (2003). Patterns of performance degradation and
       restoration during sleep restriction and subsequent recovery: a sleep dose-response
       study. Journal of Sleep Research 12(1), 1-12.
       :doi:`10.1046/j.1365-2869.2003.00337.x`

    Examples
    --------
    >>> from skmixed import mixed
    >>> from skmixed.datasets import load_sleepstudy
    >>> frame = load_sleepstudy().frame
    >>> frame.shape, frame["Subject"].nunique()
    ((180, 3), 18)
    >>> model = mixed("Reaction ~ Days + (1 + Days | Subject)", frame)
    >>> round(model.intercept_, 2), round(float(model.coef_[0]), 2)
    (251.41, 10.47)
    """
    return _load_table(
        "sleepstudy", SLEEPSTUDY_FEATURES, SLEEPSTUDY_CATEGORIES, SLEEPSTUDY_TARGET, np.float64,
        as_frame, return_X_y,
    )  # fmt: skip


def _load_table(
    name: str,
    features: Sequence[str],
    categories: Sequence[str],
    target_name: str,
    target_type: type[np.number],
    as_frame: bool,
    return_X_y: bool,
) -> Any:
    """A small table of integer features, from ``name.csv.gz``, with its note ``name.md``."""
    folder = resources.files(__package__) / "data"
    with resources.as_file(folder / f"{name}.csv.gz") as path:
        stored = pd.read_csv(path)[[*features, target_name]]

    data: Any
    target: Any
    frame: pd.DataFrame | None = None
    if as_frame:
        frame = stored.astype(dict.fromkeys(categories, "category"))
        data = frame[list(features)].copy()
        target = frame[target_name]
    else:
        data = stored[list(features)].to_numpy(np.int64)
        target = stored[target_name].to_numpy(target_type)

    if return_X_y:
        return data, target
    return _bunch(data, target, frame, features, target_name, folder / f"{name}.md")


def _bunch(
    data: Any,
    target: Any,
    frame: pd.DataFrame | None,
    features: Sequence[str],
    name: str,
    note: Any,
) -> Bunch:
    return Bunch(
        data=data,
        target=target,
        frame=frame,
        feature_names=list(features),
        target_names=[name],
        DESCR=note.read_text(encoding="utf-8"),
    )


def _as_category(values: NDArray[np.integer]) -> Any:
    """Small positive integers as a categorical; counting avoids a sort."""
    present = np.flatnonzero(np.bincount(values))
    codes = np.empty(int(present[-1]) + 1, dtype=np.int32)
    codes[present] = np.arange(present.size, dtype=np.int32)
    return pd.Categorical.from_codes(codes[values], categories=pd.Index(present))
