"""Alignment of tokenizers that differ in all that matters, over Korean, English and emoji."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny_checkpoints, tiny_tokenizers
from tests.tiny_tokenizers import FAITHFUL

from seodang.base.errors import Conflict, InvalidInput, Unsupported
from seodang.distillation.catalogue import Task
from seodang.distillation.crossing import Spans, TokenBytes, align, align_answers
from seodang.distillation.data import ChatTokenizer, Reader, freeze, open_frozen
from seodang.distillation.data.gathering import Gathered
from seodang.tasks import Example, Message, Role

CORES = {"teacher": tiny_checkpoints.tokenizer()} | {name: make() for name, make in FAITHFUL.items()}
BYTES = {name: TokenBytes(core, name) for name, core in CORES.items()}
PAIRS = [*itertools.combinations(CORES, 2)]
WORDS = [
    *"거실불을켜줘훈장님 열둘  12 plus.,\n{}\"'é🙂",
    "\U0001f469\u200d\U0001f467",
    "living room",
    " turn_on",
    "ㅋㅋ",
]
TEXT = st.lists(st.sampled_from(WORDS), max_size=30).map("".join)


def ends(name: str, text: str) -> tuple[list[int], np.ndarray]:
    ids = CORES[name].encode(text, add_special_tokens=False)
    return ids, BYTES[name].ends(ids, text)


@pytest.mark.parametrize("name", CORES)
@settings(max_examples=150, deadline=None)
@given(text=TEXT)
def test_tokens_end_where_their_bytes_do(name: str, text: str) -> None:
    ids, at = ends(name, text)
    assert len(at) == len(ids)
    assert np.all(np.diff(at, prepend=0) >= 0)
    assert (int(at[-1]) if ids else 0) == len(text.encode())
    for count in range(1, len(ids) + 1):
        begun = CORES[name].decode(ids[:count])
        if "\ufffd" not in begun:  # its decoder gives up a whole run of bytes whose last character is incomplete
            assert text.encode()[: at[count - 1]].decode().strip() == begun.strip()


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
@settings(max_examples=100, deadline=None)
@given(text=TEXT)
def test_spans_are_the_shortest_pieces_that_both_bound(pair: tuple[str, str], text: str) -> None:
    (_, one_ends), (_, two_ends) = (ends(name, text) for name in pair)
    one, two, count = align(one_ends, two_ends)
    if not text:
        assert count == 0
        return
    assert sorted({*one}) == sorted({*two}) == [*range(count)]
    bounds = [0, *(int(one_ends[one == number].max()) for number in range(count))]
    # The same bytes on both sides, in order, none left out.
    assert bounds == [0, *(int(two_ends[two == number].max()) for number in range(count))]
    assert np.all(np.diff(one) >= 0)
    assert np.all(np.diff(two) >= 0)
    assert bounds[-1] == len(text.encode())
    for number, (begin, end) in enumerate(itertools.pairwise(bounds)):
        inside = ({*at[of == number].tolist()} - {begin, end} for at, of in ((one_ends, one), (two_ends, two)))
        assert not set.intersection(*inside)


def test_a_character_in_several_tokens_of_both_is_one_span_unless_they_share_its_bytes() -> None:
    text = "실"
    (_, teacher), (_, pieces) = ends("teacher", text), ends("bytes", text)
    assert align(teacher, pieces)[2] == len(set(teacher.tolist()))
    (_, whole) = ends("unigram", text)
    assert align(pieces, whole)[0].tolist() == [0] * len(pieces)


def test_the_space_before_every_text_belongs_to_the_first_span() -> None:
    ids, at = ends("sentence piece BPE", "실")
    assert CORES["sentence piece BPE"].convert_ids_to_tokens(ids)[0] == "▁"
    assert at.tolist() == [0, 3]
    assert align(at, ends("bytes", "실")[1])[0].tolist() == [0, 0]


def test_each_answer_ends_with_a_span_of_its_own() -> None:
    answers = [
        (np.array([1, 3]), np.array([2, 3])),
        (np.array([], int), np.array([0])),
        (np.array([2]), np.array([1, 2])),
    ]
    teacher, student = align_answers(answers)
    assert teacher.tolist() == [0, 0, 1, 2, 3, 4]
    assert student.tolist() == [0, 0, 1, 2, 2, 3, 3, 4]


def test_spans_of_chosen_sequences_are_numbered_anew() -> None:
    spans = Spans.of([(np.array([0, 1]), np.array([0, 0, 1])), (np.array([0, 0, 1]), np.array([0, 1]))])
    assert spans.teacher_numbers.tolist() == [0, 1, 2, 2, 3]
    assert spans.student_numbers.tolist() == [0, 0, 1, 2, 3]
    chosen = spans.select(np.array([1, 0]))
    assert chosen.teacher_numbers.tolist() == [0, 0, 1, 2, 3]
    assert chosen.counts.tolist() == [2, 2]


@pytest.mark.parametrize("text", ["\uff21\uff22 거실", "Living", "e\u0301"])
def test_a_tokenizer_that_normalises_is_refused_with_what_it_says(text: str) -> None:
    core = tiny_tokenizers.composing()
    with pytest.raises(InvalidInput, match=r"the student's tokenizer writes .* normalises the text"):
        TokenBytes(core, "the student's").ends(core.encode(text, add_special_tokens=False), text)


def test_a_tokenizer_that_lacks_a_character_is_refused() -> None:
    core = CORES["unigram"].__class__(tokenizer_object=CORES["unigram"].backend_tokenizer, unk_token="<unk>")
    ids = [core.unk_token_id, *core.encode("불", add_special_tokens=False)]
    with pytest.raises(InvalidInput, match="lacks some of its characters"):
        TokenBytes(core, "the student's").ends(ids, "곰불")


def test_a_tokenizer_of_another_family_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"decodes by WordPiece.*byte-level BPE or SentencePiece"):
        TokenBytes(tiny_tokenizers.word_piece(), "the student's")


def reader(folder: Path, name: str, template: str = "") -> Reader:
    core = CORES[name]
    core.save_pretrained(folder / name)
    if template:
        (folder / name / "chat_template.jinja").write_text(template)
    return Reader(ChatTokenizer(folder / name), name * 8, 200)


def conversation(number: int) -> Example:
    asked = Message(Role.USER, f"{number} 더하기 1")
    turns = (asked, Message(Role.ASSISTANT, f"{number + 1}입니다 🙂"), Message(Role.USER, "다시"))
    return Example(turns, f'{{"sum": {number + 1}}}', "s", "g", "ko")


GATHERED = Gathered(
    train=tuple(map(conversation, range(6))),
    dev=(conversation(90),),
    eval=(conversation(91), conversation(92)),
    source="file:sums",
    license="MIT",
    task=Task.EXACT,
)


def test_frozen_examples_have_both_readings_and_their_spans(tmp_path: Path) -> None:
    teacher, student = reader(tmp_path, "teacher"), reader(tmp_path, "sentence piece BPE")
    freeze(tmp_path / "data", GATHERED, teacher, student)
    data = open_frozen(tmp_path / "data", teacher.sha256, student.sha256)
    assert data.examples["train"] == GATHERED.train
    spans, ours, theirs = data.spans["train"], data.teacher_encoded["train"], data.encoded["train"]
    assert (len(spans.teacher_P), len(spans.student_Q)) == (int(ours.positions.sum()), int(theirs.positions.sum()))
    for number in range(int(spans.counts.sum())):
        one = teacher.tokenizer.text(ours.labels[spans.teacher_numbers == number].tolist())
        two = student.tokenizer.text(theirs.labels[spans.student_numbers == number].tolist())
        assert one.strip(" \ufffd") == two.strip(" \ufffd")  # a span may be a part of a character
    assert int((ours.labels == teacher.tokenizer.end_id).sum()) == 12
    assert int((theirs.labels == student.tokenizer.end_id).sum()) == 12


def test_frozen_examples_of_another_student_tokenizer_are_refused(tmp_path: Path) -> None:
    teacher, student = reader(tmp_path, "teacher"), reader(tmp_path, "bytes")
    freeze(tmp_path / "data", GATHERED, teacher, student)
    for other in ("", "another"):
        with pytest.raises(Conflict, match="rendered for students with tokenizer bytesbytesby"):
            open_frozen(tmp_path / "data", teacher.sha256, other)


def test_templates_that_write_an_answer_differently_are_refused(tmp_path: Path) -> None:
    template = tiny_tokenizers.TEMPLATE.replace("{{ m.content }}", "{{ m.content | upper }}")
    with pytest.raises(InvalidInput, match=r"chat template writes an answer as .*no piece of them is comparable"):
        freeze(tmp_path / "data", GATHERED, reader(tmp_path, "teacher"), reader(tmp_path, "bytes", template))


def test_what_exceeds_either_context_is_left_out(tmp_path: Path) -> None:
    teacher, student = reader(tmp_path, "teacher"), reader(tmp_path, "bytes")
    with pytest.raises(InvalidInput, match="fits a context of 200 and 10 tokens"):
        freeze(tmp_path / "data", GATHERED, teacher, Reader(student.tokenizer, student.sha256, 10))
