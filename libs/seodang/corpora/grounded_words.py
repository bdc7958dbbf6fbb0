"""Names and values of the made-up world of grounded questions. Names join a first and a second part."""

from collections.abc import Mapping


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAME_PARTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ko": (
        _words("한 새 해 달 별 강 솔 늘 온 누 가 나 다 라 마 바 사 아 자 청 금 은 동 백 초 소 미 보 선 호 태 우"),
        _words("빛 솔 샘 림 길 돌 봄 울 람 뫼 결 터 든 벗 아 루 미 나 리 진 민 서 원 영 정 담 재 현 율 온 찬 란"),
    ),
    "en": (
        _words("Maple Harbor Cedar River Silver Stone North Bright Golden Willow Ember Frost Lunar Coral Iron Velvet"),
        _words("wood field gate brook ridge dale view hill port well mark land crest vale side light"),
    ),
}
PERSON_PARTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ko": (
        _words("김 이 박 최 정 강 조 윤 장 임 한 오 서 신 권 황 안 송 류 홍"),
        _words("민수 지우 서연 하준 도윤 지민 예린 수아 준호 은지 현우 유진 태양 나래 보람 시우 채원 윤서 건우 다온"),
    ),
    "en": (
        _words(
            "Emma Noah Olivia Liam Mia Lucas Anna Jack Sophie Ben Clara Oscar Nina Hugo Ruth Leo Ivy Peter Julia Omar"
        ),
        _words(
            "Stone Park Rivers Hale Moss Finch Gray Lowe Marsh Quinn Reed Shaw Vale West York Bell Cole Drake Ford Kim"
        ),
    ),
}
WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "ko": {
        "weekday": _words("월요일 화요일 수요일 목요일 금요일 토요일 일요일"),
        "colour": _words("검은색 흰색 회색 파란색 남색 초록색 빨간색 분홍색 노란색 갈색 은색 보라색"),
        "place": _words(
            "서울 부산 대구 인천 광주 대전 울산 수원 전주 청주 강릉 춘천 목포 여수 안동 제주 파주 구미 진주 속초"
        ),
        "job": _words("교사 의사 간호사 요리사 화가 기자 변호사 건축가 소방관 농부 작가 사진사 조종사 통역사 약사"),
        "hobby": _words("등산 낚시 독서 수영 요리 그림 여행 사진 뜨개질 바둑 캠핑 자전거 노래 정원 가꾸기 별 관찰"),
    },
    "en": {
        "weekday": _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
        "colour": _words("black white grey blue navy green red pink yellow brown silver purple"),
        "place": _words(
            "Seoul Boston Paris London Berlin Denver Oslo Madrid Lima Cairo Tokyo Dublin Prague Vienna Busan"
        ),
        "job": _words(
            "teacher doctor nurse cook painter reporter lawyer farmer writer pilot baker tailor chemist driver"
        ),
        "hobby": _words(
            "hiking fishing reading swimming cooking painting chess camping cycling singing gardening knitting"
        ),
    },
}

# Attributes of training without sentences of their own: any noun in any pattern, so that nothing but reading helps.
# ``{a}`` stands for the noun, with particles as ``{e}``.
NOUNS: Mapping[str, tuple[str, ...]] = {
    "ko": _words(
        "높이 너비 길이 깊이 온도 습도 속도 압력 두께 용량 등급 순위 번호 암호 주소 담당 구역"
        " 층수 노선 좌표 재료 향기 맛 상표 모델 버전 언어 통화 날씨 계절 동물 식물 악기 과목"
        " 색깔 모양 무늬 소속 직책 별명 상대 목표 이유 방법 결과 점수 기온 전압 주기 비율 인원"
        " 회원 손님 매출 예산 벌금 세금 할인 한도 기한 시작 마감 휴식 입구 출구 창고 서버 계정"
        " 채널 메뉴 음료 간식 도구 장비 교재 행사 주제 강사 감독 주연 작가 원작 장르 배경 무대"
        " 관객 심판 우승 기록"
    ),
    "en": _words(
        "height width length depth temperature humidity speed pressure thickness capacity"
        " grade rank code password address owner zone floor route material scent flavour brand"
        " model version language currency weather season animal plant instrument subject shape"
        " pattern team title nickname rival goal reason method result score voltage ratio crew"
        " budget fine tax discount limit deadline entrance exit server account channel menu"
        " drink snack tool course event topic teacher director author genre stage referee"
        " winner record sponsor motto symbol anthem mascot"
    ),
}
STATEMENT_PATTERNS: Mapping[str, tuple[str, ...]] = {
    "ko": (
        "{e}의 {a은} {v}이다.",
        "{e} {a}: {v}.",
        "{e}의 {a이} {v}로 정해졌다.",
        "{a} 항목을 보면 {e은} {v}이다.",
        "{e}에서 {a은} 현재 {v}이다.",
        "{v}, 이것이 {e}의 {a}이다.",
        "기록에 따르면 {e}의 {a은} {v}였다.",
        "{e은} {a이} {v}이다.",
        "{e}의 경우 {a은} {v}에 해당한다.",
        "{a} = {v} ({e})",
        "{e}에 대해 말하자면 {a은} {v}입니다.",
        "올해 {e은} {a을} {v}로 바꾸었다.",
    ),
    "en": (
        "The {a} of {e} is {v}.",
        "{e} {a}: {v}.",
        "{e} has {v} as its {a}.",
        "For {e}, the {a} was set to {v}.",
        "{v} is the {a} of {e}.",
        "According to the records, the {a} of {e} was {v}.",
        "{e} chose {v} for its {a}.",
        "In the case of {e} the {a} comes to {v}.",
        "{a} = {v} ({e})",
        "This year {e} changed its {a} to {v}.",
        "As for the {a}, {e} reports {v}.",
        "The {a} at {e} stays {v} for now.",
    ),
}
QUESTION_PATTERNS: Mapping[str, tuple[str, ...]] = {
    "ko": (
        "{e}의 {a은}?",
        "{e} {a} 알려줘",
        "{e}의 {a이} 뭐야?",
        "{e} {a}",
        "{e}의 {a은} 무엇인가요?",
        "{a이} 뭐지, {e은}?",
        "{e}에서 {a은} 얼마나 되나요?",
    ),
    "en": (
        "What is the {a} of {e}?",
        "Tell me the {a} of {e}.",
        "{e} {a}?",
        "What {a} does {e} have?",
        "Which {a} was set for {e}?",
        "{a} of {e}",
        "As for {e}, what is its {a}?",
    ),
}
ANY_VALUES = _words("year count phone price hours weight duration day_count person weekday colour place job hobby")
