"""Python clients from the field. Each line that is printed is one of them, with one way to authenticate."""

import asyncio
import logging
import os
import sys
import time
import uuid
from importlib.metadata import version

# These servers are on loopback, without TLS: the documented switches of Authlib and of oauthlib.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

import httpx2
import jwt
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from cumulus_fhir_support import FhirClient
from joserfc.jwk import ECKey, RSAKey
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

SERVER = os.environ["SERVER"]
SERVER_WITH_AUTHORIZATION_ENDPOINT = os.environ["SERVER_WITH_AUTHORIZATION_ENDPOINT"]
API = "/api/2.0"
CALL = f"{API}/patients/"
SCOPE = "system/patients.read"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Key:
    """A key that an admin has created, with one scope: with a secret, or with the public half of `private`."""

    def __init__(self, server, private=None, api_type="apiv2", scope=SCOPE):
        self.server = server
        self.private = private
        self.admin = requests.Session()
        self.admin.post(f"{server}/sign-in", data={"user": "alder-admin"}).raise_for_status()
        request = {"name": f"client {uuid.uuid4()}", "api_type": api_type, "scopes": [scope]}
        if private is not None:
            public = private.as_dict(private=False, kid=private.kid, use="sig")
            request["authentication"] = {"kind": "public_key", "jwks": {"keys": [public]}}
        created = self.admin.post(f"{server}/api-access/v1/credentials", json=request)
        assert created.status_code == 201, created.text
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


class ShortLived(PrivateKeyJWT):
    """Authlib signs for an hour, and more than five minutes are refused."""

    def sign(self, auth, token_endpoint):
        return private_key_jwt_sign(
            auth.client_secret, auth.client_id, token_endpoint, alg="ES256", header={"kid": auth.client_secret.kid}, expires_in=60
        )


def authlib(key, method):
    metadata = metadata_of(key.server)
    assert method in metadata["token_endpoint_auth_methods_supported"]
    session = AuthlibSession(
        key.client_id,
        key.client_secret or key.private,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        scope=SCOPE,
    )
    if method == "private_key_jwt":
        session.register_client_auth_method(PrivateKeyJWT(metadata["token_endpoint"], alg="ES256"))
        try:
            session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        except Exception as error:
            assert "`exp` lies too far ahead" in str(error), repr(error)
        else:
            raise AssertionError("an assertion for an hour was accepted")
        session.register_client_auth_method(ShortLived(metadata["token_endpoint"]))
    token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", resource=key.server + API)
    found = session.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json()
    assert found["active"] and found["aud"] == key.server + API, found
    # One token ends, and another is got for the calls.
    ended = session.revoke_token(metadata["revocation_endpoint"], token=token["access_token"])
    assert ended.status_code == 200, ended.text
    assert session.get(key.server + CALL).status_code == 401
    session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    return lambda: session.get(key.server + CALL).status_code


def requests_oauthlib(key, method):
    metadata = requests.get(f"{key.server}/.well-known/oauth-authorization-server").json()
    session = OAuth2Session(client=BackendApplicationClient(key.client_id, scope=SCOPE))
    if method == "client_secret_basic":
        proof = {"auth": HTTPBasicAuth(key.client_id, key.client_secret)}
    elif method == "private_key_jwt":
        claims = {"iss": key.client_id, "sub": key.client_id, "aud": metadata["token_endpoint"]}
        claims |= {"exp": int(time.time()) + 60, "jti": str(uuid.uuid4())}
        pem = key.private.as_pem(private=True)
        assertion = jwt.encode(claims, pem, algorithm="ES256", headers={"kid": key.private.kid})
        proof = {"client_assertion_type": JWT_BEARER, "client_assertion": assertion, "include_client_id": True}
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
    known = {"server_url": key.server + API, "storage": Storage(), "client_id": key.client_id, "issuer": key.server}
    if method == "private_key_jwt":
        # Its own defaults: RS256, five minutes, no `kid`.
        pem = key.private.as_pem(private=True).decode()
        signed = SignedJWTParameters(issuer=key.client_id, subject=key.client_id, signing_key=pem)
        provider = PrivateKeyJWTOAuthProvider(**known, assertion_provider=signed.create_assertion_provider())
    else:
        provider = ClientCredentialsOAuthProvider(
            **known, client_secret=key.client_secret, token_endpoint_auth_method=method
        )

    async def get():
        async with httpx2.AsyncClient(auth=provider) as client:
            return (await client.get(key.server + CALL)).status_code

    return lambda: asyncio.run(get())


def smart(key, method):
    """Told the FHIR API's address, it finds the token endpoint in SMART's configuration."""
    jwk = key.private.as_dict(private=True, kid=key.private.kid, alg="ES384", key_ops=["sign"])
    known = {"resources": ["Patient"], "smart_client_id": key.client_id, "smart_jwks": {"keys": [jwk]}}

    async def get():
        async with FhirClient(f"{key.server}/fhir/r4", **known) as client:
            return (await client.request("GET", "Patient/1", retry_delays=[])).status_code

    return lambda: asyncio.run(get())


def check(server, client, method, make_key):
    """Everything that each client has to show."""
    key = make_key(server)
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
        # Some tell only the description.
        reasons = ("invalid_client", "authentication failed", "the assertion is not accepted")
        assert any(reason in str(error) for reason in reasons), f"refused with {error!r}"
    else:
        assert status is not None and answer == status, f"a revoked key was answered with {answer}"


def es256(server):
    return Key(server, ECKey.generate_key("P-256", auto_kid=True))


def rs256(server):
    return Key(server, RSAKey.generate_key(2048, auto_kid=True))


def es384(server):
    return Key(server, ECKey.generate_key("P-384", auto_kid=True), "fhir", "system/Patient.read")


def with_secret_and(key):
    return [("client_secret_basic", Key), ("client_secret_post", Key), ("private_key_jwt", key)]


CLIENTS = [
    ("Authlib", "authlib", authlib, SERVER, with_secret_and(es256)),
    ("requests-oauthlib", "requests-oauthlib", requests_oauthlib, SERVER, with_secret_and(es256)),
    ("MCP SDK for Python", "mcp", mcp, SERVER_WITH_AUTHORIZATION_ENDPOINT, with_secret_and(rs256)),
    ("SMART backend services", "cumulus-fhir-support", smart, SERVER, [("private_key_jwt", es384)]),
]

if __name__ == "__main__":
    # The MCP SDK logs each refusal with its traceback.
    logging.disable(logging.CRITICAL)
    for server in (SERVER, SERVER_WITH_AUTHORIZATION_ENDPOINT):
        metadata_of(server)
    failed = False
    for name, package, client, server, methods in CLIENTS:
        for method, make_key in methods:
            line = f"{name} {version(package)}, {method}"
            try:
                check(server, client, method, make_key)
            except Exception as error:
                failed = True
                print(f"FAILED {line}: {type(error).__name__}: {error}", flush=True)
            else:
                print(f"ok {line}", flush=True)
    sys.exit(failed)
