"""The main job by a generated client: create, token, call, edit scopes, rotate, revoke.

usage: main-job.py URL SESSION, with the package `api_credentials` on the path
"""

import sys

import httpx

from api_credentials import Client
from api_credentials.api.credentials import (
    create_credential,
    get_credential,
    list_credentials,
    revoke_credential,
    set_scopes,
)
from api_credentials.api.deployment import get_catalog, get_policy
from api_credentials.api.o_auth_2_0 import introspect_token, issue_token, revoke_token
from api_credentials.api.secrets import rotate_secret
from api_credentials.api.use import list_audit_events
from api_credentials.models import (
    ActiveToken,
    CredentialStatus,
    IntrospectTokenBody,
    IssueTokenBody,
    IssueTokenBodyGrantType,
    NewCredential,
    NewCredentialApiType,
    NewSecret,
    Problem,
    RevokeTokenBody,
    ScopeChoiceScopes,
)

url, session = sys.argv[1:]
admin = Client(base_url=url, cookies={"demo_session": session})
client = Client(base_url=url)
READ, OTHER = "system/patients.read", "system/vitals.read"


def token(client_id: str, client_secret: str):
    body = IssueTokenBody(
        grant_type=IssueTokenBodyGrantType.CLIENT_CREDENTIALS,
        client_id=client_id,
        client_secret=client_secret,
    )
    return issue_token.sync_detailed(client=client, body=body)


def call(access_token: str) -> int:
    headers = {"authorization": f"Bearer {access_token}"}
    return httpx.get(f"{url}/api/2.0/patients/", headers=headers).status_code


catalog = get_catalog.sync(client=admin)
assert [it.id for it in catalog.api_types] == ["apiv2", "fhir"], catalog
assert get_policy.sync(client=admin).max_overlap_seconds == 7 * 24 * 3600

new = NewCredential(name="By a generated client", api_type=NewCredentialApiType.APIV2, scopes=[READ])
created = create_credential.sync_detailed(client=admin, body=new)
assert created.status_code == 201, created
credential = created.parsed.credential
again = create_credential.sync(client=admin, body=new)
assert isinstance(again, Problem) and again.code == "name_taken", again

first = token(credential.client_id, created.parsed.client_secret).parsed
assert call(first.access_token) == 200
body = IntrospectTokenBody(
    token=first.access_token,
    client_id=credential.client_id,
    client_secret=created.parsed.client_secret,
)
seen = introspect_token.sync(client=client, body=body)
assert isinstance(seen, ActiveToken) and seen.scope == READ, seen

other = ScopeChoiceScopes(scopes=[OTHER])
etag = created.headers["etag"]
changed = set_scopes.sync_detailed(credential.id, client=admin, body=other, if_match=etag)
assert changed.status_code == 200 and changed.parsed.credential.scopes == [OTHER], changed
assert call(first.access_token) == 403
stale = set_scopes.sync_detailed(credential.id, client=admin, body=other, if_match=etag)
assert stale.status_code == 412 and stale.parsed.code == "stale_version", stale
back = ScopeChoiceScopes(scopes=[READ])
set_scopes.sync(credential.id, client=admin, body=back, if_match=changed.headers["etag"])
assert call(first.access_token) == 200

rotated = rotate_secret.sync(credential.id, client=admin, body=NewSecret(overlap_seconds=0))
assert call(first.access_token) == 401
assert token(credential.client_id, created.parsed.client_secret).status_code == 401
second = token(credential.client_id, rotated.client_secret).parsed
assert call(second.access_token) == 200
body = RevokeTokenBody(
    token=second.access_token,
    client_id=credential.client_id,
    client_secret=rotated.client_secret,
)
assert revoke_token.sync_detailed(client=client, body=body).status_code == 200
assert call(second.access_token) == 401
third = token(credential.client_id, rotated.client_secret).parsed

revoked = revoke_credential.sync(credential.id, client=admin)
assert revoked.credential.status == CredentialStatus.REVOKED, revoked
assert call(third.access_token) == 401
assert get_credential.sync(credential.id, client=admin).revoked_at is not None
listed = list_credentials.sync(client=admin, include_revoked=True)
assert credential.id in [it.id for it in listed.items], listed
events = list_audit_events.sync(client=admin, credential_id=credential.id)
actions = [it.action for it in events.items]
assert actions[0] == "credential.revoked" and actions[-1] == "credential.created", actions
assert actions.count("credential.scopes_changed") == 2, actions
print("the generated client did the main job")
