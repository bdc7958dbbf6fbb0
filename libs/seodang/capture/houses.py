"""Where people live, as verbose patterns: a district, then a road or a quarter, with the number of a house.

강남구 테헤란로 152 and 역삼동 736-1 are such. What ends like a district (당시, 친구, 보면) is none, and neither is a
number that counts something: 강남구 역삼동 3시.
"""

from typing import Final

_PROVINCE: Final = r"(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주)"
_DISTRICT: Final = r"""
    (?!당시|다시|잠시|역시|즉시|혹시|반드시|친구|누구|도구|연구|야구|축구|농구|배구|장면|화면|측면|반면)
    (?: [가-힣]{1,6}(?:특별자치도|특별자치시|특별시|광역시)
      | (?:경기|강원|충청[남북]|전라[남북]|경상[남북]|제주)도
      | [가-힣]{1,6}(?<![다라으하되이])(?:시|군|구|읍|면) )
"""
_NUMBER: Final = r"""
    \d{1,5}(?:-\d{1,4})?(?:번지)?
    (?= [^가-힣A-Za-z0-9.,%-] | [.,-](?!\d) | \Z
      | (?:에|이[고다라며야에었]|입니|예요|야|로|으로|를|을|은|는|번지|인데|까지|부터|근처|앞|옆) )
    (?!\ ?(?:시|분|초|일|월|년|명|개|번|박|원|층|대|회|점|살|세|킬로|미터|인치)(?![가-힣]))
"""
_ROOM: Final = r"""
    (?: ,?\ {0,2}
      (?: \([가-힣0-9A-Za-z ,]{1,30}\)
        | [가-힣A-Za-z0-9]{1,16}(?:아파트|빌라|빌딩|오피스텔|타워|맨션)
        | 제?\d{1,4}동(?![가-힣])
        | (?:지하\ ?)?\d{1,3}층
        | 제?\d{1,5}호 ) ){0,4}
"""
KOREAN_ADDRESS: Final = rf"""
    (?<![가-힣]) (?:{_PROVINCE}\ {{1,2}})? (?:{_DISTRICT}\ {{1,2}}){{1,4}}
    (?: [가-힣0-9]{{1,12}}(?<![시도군구읍면으])(?:로|길)\ ?(?:\d{{1,4}}번?길\ ?)?{_NUMBER}
      | (?:[가-힣0-9]{{1,8}}(?:동|리)|[가-힣]{{1,6}}\d가)\ {_NUMBER} )
    {_ROOM}
"""
ENGLISH_ADDRESS: Final = r"""
    (?<![\w-]) \d{1,5}[A-Z]?\ (?:[NSEW]\.?\ )?(?:[A-Z][A-Za-z'-]{1,20}\ |\d{1,3}(?:st|nd|rd|th)\ ){1,3}
    (?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Way)\b\.?
    (?: \ (?:North|South)?(?:east|west)\b
      | ,?\ (?:(?i:apt|apartment|suite|ste|unit|floor)\b|\#)\.?\ ?[0-9A-Za-z-]{1,8}\b ){0,2}
"""
