"""Settings of who may come in."""

from __future__ import annotations

from dataclasses import dataclass, field

from store.access import ROLES

SWITCH = ("off", "on")


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Table `[access]`: who may do what.

    Attributes:
        sign_in: "off" lets in everybody who reaches the server, with the role below, and listens
            on this machine only; "on" asks people to sign in and programs for tokens.
        role: of everybody while nobody signs in: "viewer" looks (a screen on a wall, a copy for
            others), "operator" steers the fleet too, "admin" also changes what the server watches,
            keeps, promises and sends. Senders of telemetry are not asked for a role.
        anonymous: "viewer" lets people look without a sign-in where others sign in; "nobody" does
            not.
        metrics: who may read /metrics where people sign in: "anybody", or "token" (with the scope
            metrics or any role).
        session_hours: a sign-in lasts at most.
        session_idle_hours: and ends sooner when its browser is silent for so long.
        requests_per_minute: of one person, token or address, to the API and the pages; senders of
            telemetry have limits of their own. 0 is no limit.
        sign_ins_per_minute: attempts from one address, and for one name; ten may come at once.
    """

    sign_in: str = "off"
    role: str = "admin"
    anonymous: str = "nobody"
    metrics: str = "anybody"
    session_hours: float = 12.0
    session_idle_hours: float = 4.0
    requests_per_minute: float = 3_000.0
    sign_ins_per_minute: float = 6.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        choices = {
            "sign_in": SWITCH,
            "role": tuple(ROLES),
            "anonymous": ("nobody", "viewer"),
            "metrics": ("anybody", "token"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"access.{name} must be one of: {', '.join(allowed)}")
        for name in ("session_hours", "session_idle_hours", "sign_ins_per_minute"):
            if not getattr(self, name) > 0:
                raise ValueError(f"access.{name} must be above 0")
        if self.requests_per_minute < 0:
            raise ValueError("access.requests_per_minute must not be negative")


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Table `[oidc]`: signing in at an OpenID provider. `server.public_url` must be set with it.

    Attributes:
        issuer: its address, as it names itself: <issuer>/.well-known/openid-configuration answers.
            Empty offers no such sign-in.
        client_id: of this server, at the provider.
        client_secret_file: file with the secret; empty is a public client, which PKCE protects.
        label: on the button.
        scopes: what the provider is asked for.
        name_claim: who somebody is here; when it is missing, `email`, then `sub`.
        role_claim: a claim with one or several groups.
        roles: group -> role; the highest that fits counts.
        default_role: of those whose groups give none; empty refuses them.
        ca_file: certificates to trust for it; empty means the usual ones.
    """

    issuer: str = ""
    client_id: str = ""
    client_secret_file: str = ""
    label: str = "Single sign-on"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    name_claim: str = "preferred_username"
    role_claim: str = "groups"
    roles: dict[str, str] = field(default_factory=dict)
    default_role: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            ValueError: naming the setting.
        """
        if self.issuer and not self.issuer.startswith(("https://", "http://")):
            raise ValueError("oidc.issuer must begin with https:// (http:// for loopback)")
        if self.issuer and not self.client_id:
            raise ValueError("oidc.client_id must be set with oidc.issuer")
        if "openid" not in self.scopes:
            raise ValueError("oidc.scopes must hold openid")
        for role in (*self.roles.values(), *filter(None, [self.default_role])):
            if role not in ROLES:
                raise ValueError(f"oidc: '{role}' is no role; they are: {', '.join(ROLES)}")
