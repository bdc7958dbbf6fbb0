"""The messaging errand: a KakaoTalk skill request is answered in KakaoTalk's own format."""

import json
import time

from seodang.api.messaging.v1 import messaging_pb2
from seodang.cli.demo.errand import Errand
from seodang.client import AsyncClient


async def ask_messaging(messaging: AsyncClient, model: str, utterance: str, token: str) -> Errand:
    """Delivers a skill request as KakaoTalk's servers send it."""
    began_s = time.monotonic()
    user = {"id": "demo-user", "type": "botUserKey", "properties": {"botUserKey": "demo-user"}}
    body = {
        "intent": {"id": "demo-intent", "name": "fallback"},
        "userRequest": {
            "timezone": "Asia/Seoul",
            "params": {},
            "block": {"id": "demo-block", "name": "fallback"},
            "utterance": utterance,
            "lang": "ko",
            "user": user,
        },
        "bot": {"id": "demo-bot", "name": "demo"},
        "action": {"name": "reply", "id": "demo-action", "clientExtra": {}, "params": {}, "detailParams": {}},
        "contexts": [],
    }
    answer = await messaging.messaging.DeliverEvent(
        messaging_pb2.DeliverEventRequest(
            platform=messaging_pb2.PLATFORM_KAKAO,
            headers={"content-type": "application/json", "x-webhook-token": token},
            body=json.dumps(body, ensure_ascii=False).encode(),
        ),
        timeout=30,
    )
    reply = json.loads(answer.body) if answer.body else {}
    outputs = reply.get("template", {}).get("outputs", [])
    text = outputs[0]["simpleText"]["text"] if outputs else ""
    return Errand(
        adapter="messaging",
        model=model,
        asked=utterance,
        answered=text or f"HTTP {answer.status}",
        worked=answer.status == 200 and bool(text),
        seconds=time.monotonic() - began_s,
        detail=f"KakaoTalk skill version {reply.get('version', '?')}",
    )
