"""Signing in at an OpenID provider: authorization code with PKCE, by Authlib.

What ties the way there to the way back travels in a cookie of the browser that asked, so any server
of several may take somebody back.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from servescope.access.settings import OidcSettings
from servescope.settings import is_loopback
from store.access import ROLES, Role
from store.errors import ConfigError, ServescopeError

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

ANSWER_SECONDS = 10.0
MOST_ANSWER_BYTES = 1 << 20
# Signatures of a key pair: a shared secret would let whoever knows it make anybody.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
LEEWAY_SECONDS = 60
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_IS_IT_ONE = "is it an OpenID provider?"


class OidcFailed(ServescopeError):
    """The provider, or what came back from it, does not do."""

    code = "oidc"
    status = 502


@dataclass(frozen=True, slots=True)
class Trip:
    """What a browser holds while somebody is away at the provider.

    Attributes:
        state: must come back.
        nonce: must be in what the provider signs.
        verifier: of PKCE.
        next: where to go then.
    """

    state: str
    nonce: str
    verifier: str
    next: str

    def packed(self) -> str:
        """As a cookie."""
        text = json.dumps([self.state, self.nonce, self.verifier, self.next])
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def unpacked(cls, text: str) -> Trip | None:
        """From a cookie; None when it is none of ours."""
        try:
            found = json.loads(base64.urlsafe_b64decode(text.encode()))
            return cls(*map(str, found))
        except (ValueError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Person:
    """Who somebody is, as the provider says.

    Attributes:
        subject: `issuer#sub`, never given to anybody else.
        name: for people.
        role: by their groups.
    """

    subject: str
    name: str
    role: Role


class Oidc:
    """The way to one provider.

    Args:
        settings: of it.
        redirect_url: where it sends people back to.
    """

    def __init__(self, settings: OidcSettings, redirect_url: str) -> None:
        self._settings, self._redirect_url = settings, redirect_url
        self._issuer = settings.issuer.rstrip("/")
        _check(settings)

    async def leave(self, next_: str) -> tuple[str, Trip]:
        """Where to send a browser, and what it is to hold meanwhile.

        Raises:
            OidcFailed: the provider does not answer as one.
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        trip = Trip(state, nonce, verifier, next_)
        async with self._client() as client:
            about = await self._about(client)
            url, _ = client.create_authorization_url(
                about["authorization_endpoint"], state=trip.state, nonce=trip.nonce,
                code_verifier=trip.verifier,
            )  # fmt: skip
        return str(url), trip

    async def back(self, given: Mapping[str, str], trip: Trip | None) -> Person:
        """Who has come back.

        Args:
            given: parameters of the address that the provider sent the browser to.
            trip: what the browser held; None when it held nothing.

        Raises:
            OidcFailed: refused there, meant for another browser, or not signed by the provider.
        """
        if trip is None or not secrets.compare_digest(given.get("state", ""), trip.state):
            raise OidcFailed(
                "this sign-in was not begun in this browser, or too long ago", hint="begin again"
            )
        if "code" not in given:
            said = given.get("error_description") or given.get("error") or "no code came back"
            raise OidcFailed(f"the provider refused: {said[:200]}", hint="ask whoever runs it")
        async with self._client() as client:
            about = await self._about(client)
            token = await self._fetched(client, about, given["code"], trip)
            claims = await self._signed(client, about, token, trip)
            if self._settings.role_claim not in claims and "userinfo_endpoint" in about:
                claims = {**await self._userinfo(client, about, claims), **claims}
        return self._person(claims)

    def _client(self) -> AsyncOAuth2Client:
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        settings = self._settings
        secret = _secret(settings.client_secret_file)
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        return AsyncOAuth2Client(
            settings.client_id, secret, scope=" ".join(settings.scopes),
            redirect_uri=self._redirect_url, code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            timeout=ANSWER_SECONDS, verify=context, trust_env=False,
        )  # fmt: skip

    async def _about(self, client: AsyncOAuth2Client) -> dict[str, Any]:
        about = await _document(client, f"{self._issuer}/.well-known/openid-configuration")
        if str(about.get("issuer", "")).rstrip("/") != self._issuer:
            raise OidcFailed(
                f"the provider calls itself {about.get('issuer')!r}", hint="set oidc.issuer to that"
            )
        missing = [name for name in _NEEDED if not isinstance(about.get(name), str)]
        if missing:
            raise OidcFailed(f"the provider does not say its {missing[0]}", hint=_IS_IT_ONE)
        return about

    async def _fetched(
        self, client: AsyncOAuth2Client, about: Mapping[str, Any], code: str, trip: Trip
    ) -> Mapping[str, Any]:
        import httpx2
        from authlib.integrations.base_client import OAuthError

        try:
            token: Mapping[str, Any] = await client.fetch_token(
                about["token_endpoint"], code=code, code_verifier=trip.verifier
            )
        except (OAuthError, httpx2.HTTPError, ValueError) as error:
            raise OidcFailed(f"the provider gave no token ({error})", hint="begin again") from error
        return token

    async def _signed(
        self, client: AsyncOAuth2Client, about: Mapping[str, Any], token: Mapping[str, Any],
        trip: Trip,
    ) -> dict[str, Any]:  # fmt: skip
        """What the provider has signed. Source: OpenID Connect Core 1.0, 3.1.3.7."""
        from joserfc import jwk, jwt
        from joserfc.errors import JoseError

        held = await _document(client, about["jwks_uri"])
        try:
            found = jwt.decode(
                str(token.get("id_token", "")), jwk.KeySet.import_key_set(held),  # type: ignore[arg-type]
                algorithms=list(ALGORITHMS),
            )  # fmt: skip
            jwt.JWTClaimsRegistry(
                leeway=LEEWAY_SECONDS,
                iss={"essential": True, "value": about["issuer"]},
                aud={"essential": True, "value": self._settings.client_id},
                sub={"essential": True}, exp={"essential": True},
                nonce={"essential": True, "value": trip.nonce},
            ).validate(found.claims)  # fmt: skip
        except (JoseError, ValueError) as error:
            raise OidcFailed(
                f"what came back is not signed for this sign-in ({error})",
                hint="are the clocks of both machines right?",
            ) from error
        return dict(found.claims)

    async def _userinfo(
        self, client: AsyncOAuth2Client, about: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> dict[str, Any]:
        found = await _document(client, about["userinfo_endpoint"])
        return found if found.get("sub") == claims["sub"] else {}

    def _person(self, claims: Mapping[str, Any]) -> Person:
        wanted = (self._settings.name_claim, "email", "sub")
        name = next(str(claims[claim]) for claim in wanted if claims.get(claim))
        return Person(f"{self._issuer}#{claims['sub']}", name, self._role(claims, name))

    def _role(self, claims: Mapping[str, Any], name: str) -> Role:
        said = claims.get(self._settings.role_claim) or []
        groups = [said] if isinstance(said, str) else [str(group) for group in said]
        given = [self._settings.roles[group] for group in groups if group in self._settings.roles]
        if not given and self._settings.default_role:
            given = [self._settings.default_role]
        if not given:
            failed = OidcFailed(
                f"{name[:100]} has no group that gives a role here",
                hint=f"oidc.roles names {', '.join(self._settings.roles) or 'none'}; ask an admin",
            )
            failed.status = 403
            raise failed
        return max(ROLES[role] for role in given)


async def _document(client: AsyncOAuth2Client, url: str) -> dict[str, Any]:
    import httpx2

    try:
        with_token = client.token is not None
        answer = await client.request("GET", url, withhold_token=not with_token)
        answer.raise_for_status()
        found = answer.json() if len(answer.content) <= MOST_ANSWER_BYTES else None
    except (httpx2.HTTPError, ValueError) as error:
        raise OidcFailed(
            f"the provider does not answer ({type(error).__name__}: {error})",
            where=url, hint="is oidc.issuer right, and reached from this machine?",
        ) from error  # fmt: skip
    if not isinstance(found, dict):
        raise OidcFailed("the provider's answer is no object", where=url, hint=_IS_IT_ONE)
    return found


def _check(settings: OidcSettings) -> None:
    try:
        import authlib  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "oidc.issuer needs Authlib", hint="pip install 'servescope[oidc]'"
        ) from error
    url = urlsplit(settings.issuer)
    if url.scheme != "https" and not is_loopback(url.hostname or ""):
        raise ConfigError(
            "oidc.issuer must begin with https://", hint="only a provider on this machine may not"
        )
    _secret(settings.client_secret_file)


def _secret(file: str) -> str | None:
    if not file:
        return None
    try:
        return Path(file).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot be read ({error})", where=file, hint="see oidc.client_secret_file"
        ) from error
