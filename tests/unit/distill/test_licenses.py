import pytest

from seodang.base.errors import InvalidInput
from seodang.distill.jobs.licenses import check_license
from seodang.distillation import CORPORA, Corpus


@pytest.mark.parametrize(
    "expression",
    ["MIT", "cc-by-4.0", "GPL-3.0-only OR CC0-1.0", "MIT AND (CC-BY-SA-4.0 OR ISC)", "Apache-2.0 WITH LLVM-exception"],
)
def test_a_licence_that_allows_training_passes(expression: str) -> None:
    check_license(expression, (), "spec.data.license")


@pytest.mark.parametrize(
    "expression",
    [
        "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-SA-4.0", "MIT AND CC-BY-NC-4.0", "LicenseRef-Own", "all mine", "MIT AND",
        "", "(", "한국",
    ],
)  # fmt: skip
def test_a_licence_that_does_not_is_refused(expression: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_license(expression, (), "spec.data.license")
    assert caught.value.field == "spec.data.license"


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=lambda corpus: corpus.name)
def test_every_corpus_that_a_job_may_name_allows_training(corpus: Corpus) -> None:
    check_license(corpus.license, (), "spec.data.corpus")


def test_an_operator_may_allow_a_licence_of_his_own() -> None:
    check_license("LicenseRef-Own AND MIT", ["LicenseRef-Own"], "spec.data.license")
