"""The made-up world of grounded questions: kinds of things, what can be said of them, and how it is asked.

``{e}`` stands for the thing, ``{v}`` for the value; Korean sentences write ``{e은}``, ``{e이}`` or ``{e을}`` where a
particle must fit the name. One statement and one question of every attribute are kept out of
training.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """One thing that can be said of a kind: the kind of its value, how it is stated, and how it is asked."""

    value: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of thing: the nouns that end its names (none for people), and its attributes."""

    nouns: tuple[str, ...]
    attributes: tuple[Attribute, ...]


_KO_PLACE = Kind(
    ("도서관", "카페", "박물관", "병원", "체육관", "호텔", "서점", "미술관", "수영장", "식당"),
    (
        Attribute(
            "year",
            ("{e은} {v}에 문을 열었다.", "{e}의 개관 연도는 {v}이다.", "{e이} 처음 문을 연 해는 {v}이다."),
            ("{e은} 언제 문을 열었나요?", "{e}의 개관 연도는?", "{e이} 처음 문을 연 해는 언제야?"),
        ),
        Attribute(
            "hours",
            ("{e은} {v}까지 운영한다.", "{e}의 운영 시간은 {v}까지이다.", "{e은} 매일 {v}에 문을 닫는다."),
            ("{e은} 몇 시까지 운영하나요?", "{e} 운영 시간 알려줘", "{e은} 몇 시에 문을 닫아?"),
        ),
        Attribute(
            "phone",
            ("{e}의 전화번호는 {v}이다.", "{e}에 문의하려면 {v} 번으로 전화한다.", "{e} 연락처: {v}."),
            ("{e} 전화번호가 뭐야?", "{e}에 전화하려면 몇 번이죠?", "{e} 연락처 알려줘"),
        ),
        Attribute(
            "count",
            ("{e}에는 좌석이 {v}개 있다.", "{e}의 좌석 수는 {v}개이다.", "{e은} 좌석 {v}개를 갖추었다."),
            ("{e}에는 좌석이 몇 개 있나요?", "{e} 좌석 수는?", "{e}의 자리는 모두 몇 개야?"),
        ),
        Attribute(
            "price",
            ("{e}의 입장료는 {v}이다.", "{e}에 들어가려면 {v}을 내야 한다.", "{e} 입장료: {v}."),
            ("{e} 입장료는 얼마인가요?", "{e}에 들어가려면 얼마를 내야 해?", "{e} 입장료 알려줘"),
        ),
        Attribute(
            "weekday",
            ("{e은} 매주 {v}에 쉰다.", "{e}의 휴관일은 {v}이다.", "{e} 쉬는 날: {v}."),
            ("{e은} 무슨 요일에 쉬나요?", "{e} 휴관일이 언제야?", "{e} 쉬는 날 알려줘"),
        ),
        Attribute(
            "person",
            ("{e}의 관장은 {v}이다.", "{e은} {v} 씨가 운영한다.", "{v} 씨가 {e}의 책임자이다."),
            ("{e}의 관장은 누구인가요?", "{e은} 누가 운영해?", "{e} 책임자가 누구야?"),
        ),
    ),
)
_KO_PRODUCT = Kind(
    ("노트북", "청소기", "이어폰", "카메라", "자전거", "정수기", "스피커", "냉장고", "시계", "의자"),
    (
        Attribute(
            "price",
            ("{e}의 가격은 {v}이다.", "{e은} {v}에 판매된다.", "{e} 값: {v}."),
            ("{e} 가격이 얼마야?", "{e은} 얼마에 판매되나요?", "{e} 값 알려줘"),
        ),
        Attribute(
            "weight",
            ("{e}의 무게는 {v}이다.", "{e은} 무게가 {v}이다.", "{e} 중량: {v}."),
            ("{e} 무게는?", "{e은} 얼마나 무거워?", "{e} 중량 알려줘"),
        ),
        Attribute(
            "duration",
            ("{e}의 보증 기간은 {v}이다.", "{e은} {v} 동안 무상 수리를 받을 수 있다.", "{e} 품질 보증: {v}."),
            ("{e} 보증 기간은 얼마나 되나요?", "{e} 무상 수리 기간은?", "{e} 품질 보증은 얼마 동안이야?"),
        ),
        Attribute(
            "colour",
            ("{e}의 색은 {v}이다.", "{e은} {v}으로만 나온다.", "{e} 색상: {v}."),
            ("{e은} 무슨 색이야?", "{e} 색상은?", "{e은} 어떤 색으로 나오나요?"),
        ),
        Attribute(
            "year",
            ("{e은} {v}에 출시되었다.", "{e}의 출시 연도는 {v}이다.", "{e} 출시: {v}."),
            ("{e은} 언제 출시되었나요?", "{e} 출시 연도는?", "{e이} 나온 게 언제야?"),
        ),
        Attribute(
            "place",
            ("{e은} {v}에서 만든다.", "{e}의 생산지는 {v}이다.", "{e} 제조: {v}."),
            ("{e은} 어디에서 만드나요?", "{e} 생산지는?", "{e} 제조한 곳이 어디야?"),
        ),
    ),
)
_KO_POLICY = Kind(
    ("몰", "마켓", "상점", "서비스", "택배", "은행", "보험", "통신", "여행사", "학원"),
    (
        Attribute(
            "duration",
            (
                "{e} 환불은 구매 후 {v} 이내에 할 수 있다.",
                "{e}의 환불 기한은 {v}이다.",
                "{e}에서는 {v} 안에 환불을 신청해야 한다.",
            ),
            ("{e} 환불은 며칠 안에 해야 하나요?", "{e} 환불 기한은?", "{e} 환불은 언제까지 신청해?"),
        ),
        Attribute(
            "price",
            ("{e}의 배송비는 {v}이다.", "{e은} 배송비로 {v}을 받는다.", "{e} 배송 요금: {v}."),
            ("{e} 배송비는 얼마인가요?", "{e} 배송비가 얼마야?", "{e} 배송 요금 알려줘"),
        ),
        Attribute(
            "day_count",
            ("{e}의 배송에는 {v}이 걸린다.", "{e} 주문은 {v} 뒤에 도착한다.", "{e} 평균 배송 기간: {v}."),
            ("{e} 배송은 얼마나 걸리나요?", "{e} 주문은 며칠 뒤에 도착해?", "{e} 배송 기간 알려줘"),
        ),
        Attribute(
            "phone",
            ("{e} 고객센터 번호는 {v}이다.", "{e} 상담은 {v} 번에서 받는다.", "{e} 고객센터: {v}."),
            ("{e} 고객센터 번호 알려줘", "{e} 상담은 몇 번으로 하나요?", "{e} 고객센터 전화가 뭐야?"),
        ),
        Attribute(
            "hours",
            ("{e} 상담은 {v}까지 한다.", "{e}의 상담 마감은 {v}이다.", "{e} 상담 시간: {v}까지."),
            ("{e} 상담은 몇 시까지 하나요?", "{e} 상담 마감은 언제야?", "{e} 상담 시간 알려줘"),
        ),
        Attribute(
            "count",
            (
                "{e} 포인트는 {v}점부터 쓸 수 있다.",
                "{e}에서는 {v}점이 모이면 포인트를 쓴다.",
                "{e} 최소 사용 포인트: {v}점.",
            ),
            ("{e} 포인트는 몇 점부터 쓸 수 있나요?", "{e} 포인트는 얼마나 모아야 해?", "{e} 최소 사용 포인트는?"),
        ),
    ),
)
_KO_PERSON = Kind(
    (),
    (
        Attribute(
            "year",
            ("{e은} {v}에 태어났다.", "{e}의 출생 연도는 {v}이다.", "{e이} 태어난 해는 {v}이다."),
            ("{e은} 언제 태어났나요?", "{e} 출생 연도는?", "{e이} 태어난 해가 언제야?"),
        ),
        Attribute(
            "place",
            ("{e}의 고향은 {v}이다.", "{e은} {v}에서 자랐다.", "{e} 출신지: {v}."),
            ("{e}의 고향은 어디인가요?", "{e은} 어디에서 자랐어?", "{e} 출신지 알려줘"),
        ),
        Attribute(
            "job",
            ("{e}의 직업은 {v}이다.", "{e은} {v}로 일한다.", "{e은} 오랫동안 {v}로 지냈다."),
            ("{e}의 직업은 무엇인가요?", "{e은} 무슨 일을 해?", "{e은} 어떤 직업을 가졌어?"),
        ),
        Attribute(
            "hobby",
            ("{e}의 취미는 {v}이다.", "{e은} 쉬는 날에 {v}을 즐긴다.", "{e} 취미: {v}."),
            ("{e}의 취미는 무엇인가요?", "{e은} 쉬는 날에 뭘 즐겨?", "{e} 취미 알려줘"),
        ),
    ),
)
_EN_PLACE = Kind(
    ("Library", "Cafe", "Museum", "Hospital", "Gym", "Hotel", "Bookstore", "Gallery", "Pool", "Diner"),
    (
        Attribute(
            "year",
            ("{e} opened in {v}.", "{e} was founded in {v}.", "The doors of {e} first opened in {v}."),
            ("When did {e} open?", "What year was {e} founded?", "In which year did {e} first open its doors?"),
        ),
        Attribute(
            "hours",
            ("{e} is open until {v}.", "{e} closes at {v}.", "Visitors may stay at {e} until {v}."),
            ("When does {e} close?", "Until when is {e} open?", "How late can visitors stay at {e}?"),
        ),
        Attribute(
            "phone",
            ("The phone number of {e} is {v}.", "Call {e} at {v}.", "{e} can be reached at {v}."),
            ("What is the phone number of {e}?", "How do I call {e}?", "What number reaches {e}?"),
        ),
        Attribute(
            "count",
            ("{e} has {v} seats.", "There are {v} seats in {e}.", "{e} offers seating for {v}."),
            ("How many seats does {e} have?", "How many seats are there in {e}?", "How many people can sit in {e}?"),
        ),
        Attribute(
            "price",
            ("A ticket for {e} costs {v}.", "The entrance fee of {e} is {v}.", "Visitors pay {v} to enter {e}."),
            ("How much is a ticket for {e}?", "What is the entrance fee of {e}?", "What do visitors pay to enter {e}?"),
        ),
        Attribute(
            "weekday",
            ("{e} is closed on {v}.", "{e} does not open on {v}.", "The day off of {e} is {v}."),
            ("On which day is {e} closed?", "When does {e} not open?", "What is the day off of {e}?"),
        ),
        Attribute(
            "person",
            ("The director of {e} is {v}.", "{e} is run by {v}.", "{v} is in charge of {e}."),
            ("Who is the director of {e}?", "Who runs {e}?", "Who is in charge of {e}?"),
        ),
    ),
)
_EN_PRODUCT = Kind(
    ("Laptop", "Vacuum", "Headset", "Camera", "Bike", "Blender", "Speaker", "Fridge", "Watch", "Chair"),
    (
        Attribute(
            "price",
            ("The price of the {e} is {v}.", "The {e} sells for {v}.", "Buyers pay {v} for the {e}."),
            ("What is the price of the {e}?", "How much does the {e} cost?", "What do buyers pay for the {e}?"),
        ),
        Attribute(
            "weight",
            ("The {e} weighs {v}.", "The weight of the {e} is {v}.", "At {v}, the {e} is easy to carry."),
            ("How much does the {e} weigh?", "What is the weight of the {e}?", "How heavy is the {e}?"),
        ),
        Attribute(
            "duration",
            (
                "The {e} has a warranty of {v}.",
                "The warranty of the {e} lasts {v}.",
                "Repairs of the {e} are free for {v}.",
            ),
            (
                "How long is the warranty of the {e}?",
                "How long does the {e} warranty last?",
                "For how long are repairs of the {e} free?",
            ),
        ),
        Attribute(
            "colour",
            ("The {e} comes in {v}.", "The colour of the {e} is {v}.", "The {e} is only sold in {v}."),
            ("What colour is the {e}?", "In what colour does the {e} come?", "In which colour is the {e} sold?"),
        ),
        Attribute(
            "year",
            ("The {e} was released in {v}.", "The {e} came out in {v}.", "The {e} went on sale in {v}."),
            ("When was the {e} released?", "In what year did the {e} come out?", "When did the {e} go on sale?"),
        ),
        Attribute(
            "place",
            ("The {e} is made in {v}.", "The {e} is produced in {v}.", "The factory of the {e} is in {v}."),
            ("Where is the {e} made?", "Where is the {e} produced?", "Where is the factory of the {e}?"),
        ),
    ),
)
_EN_POLICY = Kind(
    ("Mall", "Market", "Store", "Express", "Bank", "Insurance", "Telecom", "Travel", "Academy", "Outlet"),
    (
        Attribute(
            "duration",
            (
                "{e} accepts returns within {v}.",
                "The return period of {e} is {v}.",
                "Items from {e} may be sent back for {v}.",
            ),
            (
                "Within what time does {e} accept returns?",
                "What is the return period of {e}?",
                "How long may items from {e} be sent back?",
            ),
        ),
        Attribute(
            "price",
            ("Shipping at {e} costs {v}.", "{e} charges {v} for shipping.", "The delivery fee of {e} is {v}."),
            ("How much is shipping at {e}?", "What does {e} charge for shipping?", "What is the delivery fee of {e}?"),
        ),
        Attribute(
            "phone",
            ("The help line of {e} is {v}.", "{e} takes support calls at {v}.", "For help, {e} customers dial {v}."),
            (
                "What is the help line of {e}?",
                "Where does {e} take support calls?",
                "What do {e} customers dial for help?",
            ),
        ),
        Attribute(
            "day_count",
            ("Orders from {e} arrive in {v}.", "{e} delivers within {v}.", "Delivery by {e} takes {v}."),
            ("How long do orders from {e} take?", "How fast does {e} deliver?", "How long does delivery by {e} take?"),
        ),
        Attribute(
            "hours",
            ("{e} answers calls until {v}.", "Support at {e} ends at {v}.", "The support desk of {e} works until {v}."),
            (
                "Until when does {e} answer calls?",
                "When does support at {e} end?",
                "How late does the support desk of {e} work?",
            ),
        ),
    ),
)
_EN_PERSON = Kind(
    (),
    (
        Attribute(
            "year",
            ("{e} was born in {v}.", "The birth year of {e} is {v}.", "{e} came into the world in {v}."),
            ("When was {e} born?", "What is the birth year of {e}?", "In which year did {e} come into the world?"),
        ),
        Attribute(
            "place",
            ("{e} comes from {v}.", "{e} grew up in {v}.", "The hometown of {e} is {v}."),
            ("Where does {e} come from?", "Where did {e} grow up?", "What is the hometown of {e}?"),
        ),
        Attribute(
            "job",
            ("{e} works as a {v}.", "{e} is a {v}.", "The job of {e} is {v}."),
            ("What does {e} work as?", "What does {e} do for a living?", "What is the job of {e}?"),
        ),
        Attribute(
            "hobby",
            ("{e} enjoys {v}.", "The hobby of {e} is {v}.", "On weekends {e} spends time on {v}."),
            ("What does {e} enjoy?", "What is the hobby of {e}?", "What does {e} spend time on at weekends?"),
        ),
    ),
)
KINDS: Mapping[str, tuple[Kind, ...]] = {
    "ko": (_KO_PLACE, _KO_PRODUCT, _KO_POLICY, _KO_PERSON),
    "en": (_EN_PLACE, _EN_PRODUCT, _EN_POLICY, _EN_PERSON),
}
