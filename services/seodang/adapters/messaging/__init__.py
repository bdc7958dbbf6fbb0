"""Messaging: webhooks of Slack and KakaoTalk in, a student's replies out, each of them once."""
