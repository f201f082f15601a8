"""The auth policy my-policy: it knows callers by the SHA-256 of their keys."""

import re

from codex_policy import caller, read, unauthorized


class Policy:
    name = "my-policy"
    version = "0.1.0"

    def __init__(self, settings, host):
        self.callers = read(settings, callers={})["callers"]
        for fingerprint, id in self.callers.items():
            if not re.fullmatch("[0-9a-f]{64}", fingerprint):
                raise ValueError(
                    f"callers: expected 64 lower-case hexadecimal digits for {id}, `codex-gateway key hash` prints them"
                )

    def needs(self):
        return ["credential"]

    def authenticate(self, request):
        if request.credential is None:
            raise unauthorized("Send a key as 'Authorization: Bearer KEY'.")
        id = self.callers.get(request.credential.fingerprint)
        if id is None:
            raise unauthorized("Incorrect API key.")
        return caller(id)
