"""What must go, what must stay although it looks alike, and that neither is ever slow."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seodang.capture import redact

GOES = [
    # Korean mobile and land lines, as people write them.
    ("제 번호는 010-1234-5678이에요", "제 번호는 [PHONE]이에요"),
    ("연락처:01012345678", "연락처:[PHONE]"),
    ("010 1234 5678로 전화 줘", "[PHONE]로 전화 줘"),
    ("010.1234.5678", "[PHONE]"),
    ("０１０－１２３４－５６７８ 이 번호", "[PHONE] 이 번호"),
    ("옛날 번호 011-234-5678", "옛날 번호 [PHONE]"),
    ("사무실은 02-123-4567, 집은 031)123-4567", "사무실은 [PHONE], 집은 [PHONE]"),
    ("070-1234-5678 또는 0505-123-4567", "[PHONE] 또는 [PHONE]"),
    ("(02) 1234-5678", "[PHONE]"),
    ("공일공 일이삼사 오육칠팔로 걸어", "[PHONE]로 걸어"),
    # International.
    ("+82-10-1234-5678", "[PHONE]"),
    ("call +82 10 1234 5678 now", "call [PHONE] now"),
    ("+1 (415) 555-2671", "[PHONE]"),
    ("+442071838750.", "[PHONE]."),
    ("call me at 415-555-2671", "call me at [PHONE]"),
    ("(415) 555-2671", "[PHONE]"),
    # Mailboxes.
    ("메일은 hong.gildong@example.co.kr로 보내", "메일은 [EMAIL]로 보내"),
    ("write to a+b@x.io, please", "write to [EMAIL], please"),
    # Registration numbers.
    ("주민번호 900101-1234567", "주민번호 [RRN]"),
    ("9001011234568이고", "[RRN]이고"),
    ("000229-3******", "[RRN]"),
    ("외국인등록번호 850505-5123456", "외국인등록번호 [RRN]"),
    # Cards.
    ("4111 1111 1111 1111", "[CARD]"),
    ("card 4111-1111-1111-1111 exp 12/27", "card [CARD] exp 12/27"),
    ("amex 378282246310005", "amex [CARD]"),
    # Papers and accounts.
    ("여권번호는 M12345678", "여권번호는 [ID]"),
    ("my passport is M123A4567", "my passport is [ID]"),
    ("운전면허 11-12-345678-90", "운전면허 [ID]"),
    ("계좌번호 110-123-456789로 보내", "계좌번호 [ACCOUNT]로 보내"),
    ("계좌는 신한 110123456789", "계좌는 신한 [ACCOUNT]"),
    ("IBAN: DE89 3704 0044 0532 0130 00", "IBAN: [ACCOUNT]"),
    # Houses.
    ("서울특별시 강남구 테헤란로 152, 3층 301호로 보내 줘", "[ADDRESS]로 보내 줘"),
    ("집은 경기도 성남시 분당구 판교로235번길 10이야", "집은 [ADDRESS]이야"),
    ("주소: 부산 해운대구 우동 1411-1번지", "주소: [ADDRESS]"),
    ("전북 완주군 봉동읍 둔산1로 25 한빛아파트 101동 1203호", "[ADDRESS]"),
    ("강남구 역삼동 736-1에 살아요", "[ADDRESS]에 살아요"),
    ("세종특별자치시 도움6로 11 (어진동)", "[ADDRESS]"),
    ("I live at 1600 Pennsylvania Avenue, come over", "I live at [ADDRESS], come over"),
    ("ship it to 221B Baker Street, Apt 4B", "ship it to [ADDRESS]"),
    ("350 5th Ave. is tall", "[ADDRESS] is tall"),
    # Machines.
    ("서버 203.0.113.7에 접속", "서버 [IP]에 접속"),
    ("2001:db8::8a2e:370:7334", "[IP]"),
    ("mac 3c:22:fb:12:34:56", "mac [DEVICE]"),
    # Secrets.
    ("비밀번호는 hunter2야", "비밀번호는 [SECRET]야"),
    ("비번 1234야", "비번 [SECRET]야"),
    ("password: correct-horse-7", "password: [SECRET]"),
    ("my password is s3cr3t!", "my password is [SECRET]"),
    ("인증번호 483920", "인증번호 [SECRET]"),
    ("postgres://admin:pa55@db.example.com/x", "postgres://[CREDENTIALS]@db.example.com/x"),
    ("redis://:pa55word@cache:6379", "redis://[CREDENTIALS]@cache:6379"),
    ("sk-proj-abcdefghijklmnop1234", "[SECRET]"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[SECRET]"),
    ("xoxb-123456789012-abcdefghijkl", "[SECRET]"),
    ("AKIAIOSFODNN7EXAMPLE", "[SECRET]"),
    ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer [SECRET]"),
    ("api_key=ab12cd34ef56", "api_key=[SECRET]"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[SECRET]"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "[SECRET]"),
]  # fmt: skip

STAYS = [
    "2024-01-02부터 2024-12-31까지",
    "오후 12:30:45에 만나",
    "가격은 1,234,567원입니다",
    "주문번호 2024-000123-4567",
    "1234 5678 9012 3456은 카드가 아니에요",  # no check digit
    "1588-1234로 문의하세요",  # a company's
    "상품 8801234567893",  # a bar code that begins like a birthday
    "ISBN 9788966262281",
    "타임스탬프 1700000000000",
    "버전 3.11.4와 v1.2.3.4",
    "127.0.0.1과 ::1은 이 기계예요",
    "999.999.999.999",
    "사업자등록번호 123-45-67890",
    "전화번호 알려 줘",
    "비밀번호를 잊어버렸어",
    "the password is required",
    "토큰은 1024개까지 됩니다",
    "max tokens: 4096",
    "basic information about the account",
    "@user_name on a chat",
    "std::vector<int>",
    "550e8400-e29b-41d4-a716-446655440000",
    "go to the red ball at 3, 4",
    "거실 불 50퍼센트로 켜 줘",
    "한빛 도서관은 09:00부터 18:00까지",
    "https://example.com/a:b/c?x=1",
    "991332-1234567",  # no such day
    "3.14159265358979",
    "공일이 되면 쉬자",
    "키는 180cm입니다",
    "+1000000",
    "서울시 강남구로 3번 갔어",
    "강남구 역삼동 3시 날씨",
    "부산으로 2박 여행",
    "서울시 강남구 날씨 알려 줘",
    "수원시 시민 학교로 3명 보내",
    "고양시 행사로 2,000명이 왔다",
    "버스로 30분, 걸어서 10분",
    "그 당시 느낌으로 9점 줍니다",
    "오늘 밤에도 독수리 5형제 한다",
    "인덱싱하면 길이가 1인 문자열",
    "우리 시 인구는 구 단위로 5 늘었다",
    "turn left at Main Street",
    "3 Quick Ways to learn",
]


@pytest.mark.parametrize(("written", "kept"), GOES)
def test_personal_data_goes(written: str, kept: str) -> None:
    assert redact(written).text == kept


@pytest.mark.parametrize("written", STAYS)
def test_what_only_looks_like_it_stays(written: str) -> None:
    assert redact(written).text == written


def test_each_piece_is_counted_by_its_kind() -> None:
    done = redact("010-1234-5678, 010-2345-6789, a@b.kr")
    assert (done.text, done.counts) == ("[PHONE], [PHONE], [EMAIL]", {"PHONE": 2, "EMAIL": 1})


@given(st.text(alphabet="0123456789 -.:@+()[]가은는이시구로동 abcdefyzABCZ/=_\n*,", max_size=120))
@settings(max_examples=400, deadline=None)
def test_doing_it_again_changes_nothing(written: str) -> None:
    once = redact(written).text
    assert redact(once).text == once


@pytest.mark.parametrize(
    "piece",
    ["0", "1-", "a@", "1.", "a:", "+1", "eyJ", "a", "(0", "비번", "공일", " ", "-----BEGIN ", "강남구 ", "시", "길 1 "],
)
def test_no_text_takes_long(piece: str) -> None:
    began_s = time.perf_counter()
    redact(piece * (64_000 // len(piece)))
    assert time.perf_counter() - began_s < 2.0
