"""Python clients from the field. Each line that is printed is one of them, with one way to authenticate."""

import asyncio
import logging
import os
import sys
import uuid
from importlib.metadata import version

# These servers are on loopback, without TLS: the documented switches of Authlib and of oauthlib.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

import httpx2
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

SERVER = os.environ["SERVER"]
SERVER_WITH_AUTHORIZATION_ENDPOINT = os.environ["SERVER_WITH_AUTHORIZATION_ENDPOINT"]
API = "/api/2.0"
CALL = f"{API}/patients/"
SCOPE = "system/patients.read"


class Key:
    """A key that an admin has created, with one scope."""

    def __init__(self, server):
        self.server = server
        self.admin = requests.Session()
        self.admin.post(f"{server}/sign-in", data={"user": "alder-admin"}).raise_for_status()
        request = {"name": f"client {uuid.uuid4()}", "api_type": "apiv2", "scopes": [SCOPE]}
        created = self.admin.post(f"{server}/api-access/v1/credentials", json=request)
        created.raise_for_status()
        created = created.json()
        self.path = f"/api-access/v1/credentials/{created['credential']['id']}"
        self.client_id = created["credential"]["client_id"]
        self.client_secret = created["client_secret"]

    def revoke(self):
        self.admin.delete(self.server + self.path).raise_for_status()


def metadata_of(server):
    """The server's metadata, as Authlib checks it."""
    answer = requests.get(get_well_known_url(server, external=True))
    answer.raise_for_status()
    metadata = AuthorizationServerMetadata(answer.json())
    metadata.validate()
    assert metadata["issuer"] == server
    return metadata


def authlib(key, method):
    metadata = metadata_of(key.server)
    session = AuthlibSession(key.client_id, key.client_secret, token_endpoint_auth_method=method, scope=SCOPE)
    token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", resource=key.server + API)
    found = session.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json()
    assert found["active"] and found["aud"] == key.server + API, found
    # One token ends, and another is got for the calls.
    session.revoke_token(metadata["revocation_endpoint"], token=token["access_token"])
    assert session.get(key.server + CALL).status_code == 401
    session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    return lambda: session.get(key.server + CALL).status_code


def requests_oauthlib(key, method):
    metadata = requests.get(f"{key.server}/.well-known/oauth-authorization-server").json()
    session = OAuth2Session(client=BackendApplicationClient(key.client_id, scope=SCOPE))
    if method == "client_secret_basic":
        proof = {"auth": HTTPBasicAuth(key.client_id, key.client_secret)}
    else:
        proof = {"client_secret": key.client_secret, "include_client_id": True}
    session.fetch_token(metadata["token_endpoint"], **proof)
    return lambda: session.get(key.server + CALL).status_code


class Storage:
    """Where the MCP SDK keeps tokens."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def mcp(key, method):
    """Told nothing but the API's address and the issuer, it finds the rest from the first refusal."""
    provider = ClientCredentialsOAuthProvider(
        server_url=key.server + API,
        storage=Storage(),
        client_id=key.client_id,
        client_secret=key.client_secret,
        token_endpoint_auth_method=method,
        issuer=key.server,
    )

    async def get():
        async with httpx2.AsyncClient(auth=provider) as client:
            return (await client.get(key.server + CALL)).status_code

    return lambda: asyncio.run(get())


def check(server, client, method):
    """Everything that each client has to show."""
    key = Key(server)
    call = client(key, method)
    status = call()
    assert status == 200, f"a call was answered with {status}"
    key.revoke()
    # A client that asks for another token by itself says why it gets none.
    refused(call, 401)
    refused(lambda: client(key, method)(), None)


def refused(call, status):
    try:
        answer = call()
    except Exception as error:  # each client has its own
        assert "invalid_client" in str(error), f"refused with {error!r}"
    else:
        assert status is not None and answer == status, f"a revoked key was answered with {answer}"


CLIENTS = [
    ("Authlib", "authlib", authlib, SERVER),
    ("requests-oauthlib", "requests-oauthlib", requests_oauthlib, SERVER),
    ("MCP SDK for Python", "mcp", mcp, SERVER_WITH_AUTHORIZATION_ENDPOINT),
]

if __name__ == "__main__":
    # The MCP SDK logs each refusal with its traceback.
    logging.disable(logging.CRITICAL)
    for server in (SERVER, SERVER_WITH_AUTHORIZATION_ENDPOINT):
        metadata_of(server)
    failed = False
    for name, package, client, server in CLIENTS:
        for method in ("client_secret_basic", "client_secret_post"):
            line = f"{name} {version(package)}, {method}"
            try:
                check(server, client, method)
            except Exception as error:
                failed = True
                print(f"FAILED {line}: {type(error).__name__}: {error}", flush=True)
            else:
                print(f"ok {line}", flush=True)
    sys.exit(failed)
