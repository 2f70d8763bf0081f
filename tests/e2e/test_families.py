"""Every issuer family, as a certified provider issues its tokens, drives the example policies."""

import json
from urllib.parse import quote

from support import ALICE, BOB, ROOT, EndToEnd, curl, unittest, wait_until

ORGANIZATION = "7e0c9d1a-3f52-4b6e-8f0a-1d2c3b4a5e01"
OTHER_ORGANIZATION = "11111111-2222-4333-8444-555555555555"
GATEWAY_SECRET = "gateway:se/cret+"


def shipped(name):
    """An example policy as it is shipped."""
    return (ROOT / "policies" / f"{name}.yaml").read_text()


class Families(EndToEnd):
    ISSUERS = {}
    POLICIES = {}
    TLS = ""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_provider()
        (cls.directory / "gateway.secret").write_text(GATEWAY_SECRET)
        upstream = cls.start_gunicorn()
        issuers = {name: cls.configured(said) for name, said in cls.ISSUERS.items()}
        cls.write_gateway({name: upstream for name in ("crm", "persons", "ameise")}, cls.POLICIES, issuers, tls=cls.TLS)
        cls.start_gateway()
        cls.wait_ready()

    @classmethod
    def configured(cls, said):
        path = said["issuer"]
        said = said | {"issuer": cls.issuer_url(path)}
        if said.pop("introspected", False):
            said["introspection"] = {"endpoint": f"{cls.issuer_url(path.rstrip('/'))}/token/introspection",
                                     "client_id": "gateway", "client_secret_file": "gateway.secret"}
        return said

    def asked(self, name, endpoint):
        """How often the provider was asked at this endpoint."""
        return curl([f"http://127.0.0.1:{self.provider_port}/control/{name}/asked"]).json()["asked"].get(endpoint, 0)

    def reason(self, answer):
        """Why a request was refused, out of the audit file."""
        request_id = answer.json()["instance"]
        audit = self.directory / "audit.jsonl"
        line = wait_until(lambda: next((line for line in audit.read_text().splitlines() if request_id in line), None), "the record")
        return json.loads(line)["reason"]

    def refused(self, answer, status, reason):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(self.reason(answer), reason, answer)

    def allowed(self, answer):
        self.assertEqual(answer.status, 200, answer)
        return answer.json()


class Kusy(Families):
    ISSUERS = {"kusy": {"issuer": "RS256"}}
    POLICIES = {"kusy-customers.yaml": shipped("kusy-customers")}
    HOST = "customers.example.com"

    def test_a_customer_opens_her_own_contracts_and_nobody_elses(self):
        token = self.user_token("alice", "RS256")
        self.allowed(self.ask(f"/crm/customers/{ALICE}/contracts", token, host=self.HOST))
        self.refused(self.ask(f"/crm/customers/{BOB}/contracts", token, host=self.HOST), 403, "subject")

    def test_the_batch_client_is_lifted_over_the_binding_but_not_over_scopes(self):
        token = self.machine_token("RS256")
        seen = self.allowed(self.ask(f"/crm/customers/{BOB}/contracts", token, host=self.HOST))
        self.assertNotIn("HTTP_X_AUTH_SUBJECT", seen["headers"])
        scanty = self.machine_token("RS256", scope="crm")
        self.refused(self.ask(f"/crm/customers/{BOB}/contracts", scanty, host=self.HOST), 403, "scope")

    def test_only_a_person_changes_an_address(self):
        token = self.machine_token("RS256", scope="crm customers:read customers:write")
        answer = self.ask(f"/crm/customers/{BOB}/address", token, ["-X", "PUT"], host=self.HOST)
        self.refused(answer, 403, "flow")


class StepUp(Families):
    ISSUERS = {"kusy": {"issuer": "authentication"}}
    POLICIES = {"kusy-customers.yaml": shipped("kusy-customers")}
    HOST = "customers.example.com"

    def test_an_old_login_is_asked_to_log_in_again_and_a_fresh_one_passes(self):
        scope = "openid crm customers:read customers:write"
        old = self.user_token("alice@silver-3600", "authentication", scope)
        answer = self.ask(f"/crm/customers/{ALICE}/address", old, ["-X", "PUT"], host=self.HOST)
        self.refused(answer, 401, "authentication")
        challenge = answer.headers["www-authenticate"]
        self.assertIn('error="insufficient_user_authentication"', challenge)
        self.assertIn('max_age="900"', challenge)
        fresh = self.user_token("alice@silver-0", "authentication", scope)
        self.allowed(self.ask(f"/crm/customers/{ALICE}/address", fresh, ["-X", "PUT"], host=self.HOST))


ORGANIZATIONS_LIST = """\
    version: 1
    policy: lists
    hosts: [lists.example.com]
    upstream: persons
    issuers: [auth0-organizations]
    routes:
      - path: /persons
        methods: [GET]
        require: {scope: "persons.name#read"}
        narrow: {query.org_uid: organizations}
    """


class Auth0(Families):
    ISSUER = "auth0/"
    ISSUERS = {"auth0-organizations": {"issuer": "auth0/", "preset": "auth0-organizations", "audiences": ["persons.example.com"]}}
    POLICIES = {"organizations.yaml": shipped("organizations"), "lists.yaml": ORGANIZATIONS_LIST}
    HOST = "persons.example.com"
    SCOPE = "persons.name#read persons#write"

    def token(self, client="kusy"):
        # The provider itself is at a path without the slash that ends its name.
        return self.machine_token(self.ISSUER.rstrip("/"), self.SCOPE, client)

    def persons(self, organization, client="kusy"):
        return self.ask(f"/organizations/{organization}/persons", self.token(client), host=self.HOST)

    def test_a_client_opens_its_organizations_and_no_other(self):
        seen = self.allowed(self.persons(ORGANIZATION))
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_ORG_UIDS"], ORGANIZATION)
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_GLOBAL"], "false")
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_FLOW"], "client_credentials")
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_CLIENT_ID"], "kusy")
        self.refused(self.persons(OTHER_ORGANIZATION), 403, "organization")

    def test_global_opens_every_organization(self):
        seen = self.allowed(self.persons(OTHER_ORGANIZATION, "everywhere"))
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_GLOBAL"], "true")
        self.assertNotIn("HTTP_X_AUTH_ORG_UIDS", seen["headers"])

    def test_no_organization_at_all_opens_nothing(self):
        self.refused(self.persons(ORGANIZATION, "nobody"), 403, "organization")

    def test_global_as_a_text_is_a_bad_token(self):
        answer = self.persons(ORGANIZATION, "text")
        self.assertEqual(answer.status, 401, answer)
        self.assertIn('error="invalid_token"', answer.headers["www-authenticate"])

    def test_a_list_is_narrowed_to_the_clients_organizations(self):
        seen = self.allowed(self.ask("/persons?page=2", self.token(), host="lists.example.com"))
        self.assertEqual(seen["uri"], f"/persons?page=2&org_uid={ORGANIZATION}")
        seen = self.allowed(self.ask("/persons?page=2", self.token("everywhere"), host="lists.example.com"))
        self.assertEqual(seen["uri"], "/persons?page=2")
        self.refused(self.ask(f"/persons?org_uid={OTHER_ORGANIZATION}", self.token(), host="lists.example.com"), 403, "narrow")
        self.refused(self.ask("/persons", self.token("nobody"), host="lists.example.com"), 403, "narrow")


class Auth0Namespaced(Auth0):
    """Auth0's RFC 9068 profile, where custom claims need a namespace."""

    ISSUER = "auth0-namespaced/"
    ISSUERS = {"auth0-organizations": {
        "issuer": "auth0-namespaced/", "preset": "auth0-organizations", "audiences": ["persons.example.com"],
        "claims": {"organizations": "https://example.com/org_uids", "global": "https://example.com/global"},
    }}


class Ameise(Families):
    """JWTs whose `client_id` is the tenant; permissions, broker and client are released at userinfo only."""

    ISSUER = "ameise"
    ISSUERS = {"ameise": {"issuer": "ameise", "preset": "ameise"}}
    POLICIES = {"ameise.yaml": shipped("ameise")}
    HOST = "ameise.example.com"
    SCOPE = "openid employees archive ameise/permissions"

    def token(self, who="erna", scope=None):
        return self.user_token(who, self.ISSUER, scope or self.SCOPE)

    def test_permissions_from_userinfo_open_the_list_and_their_absence_closes_it(self):
        seen = self.allowed(self.ask("/ameise/employees", self.token("erna"), host=self.HOST))
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_PERMISSIONS"], "ameise,verwaltung,archiv")
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_CLIENT_ID"], "app")
        self.refused(self.ask("/ameise/employees", self.token("kurt"), host=self.HOST), 403, "permission")

    def test_a_token_without_the_scope_for_permissions_is_told_to_ask_for_it(self):
        answer = self.ask("/ameise/employees", self.token("erna", "openid employees"), host=self.HOST)
        self.refused(answer, 403, "permission")
        self.assertIn('scope="ameise/permissions"', answer.headers["www-authenticate"])

    def test_userinfo_is_asked_once_for_many_requests(self):
        token = self.token("erna")
        before = self.asked(self.ISSUER, "me")
        for _ in range(5):
            self.allowed(self.ask("/ameise/employees", token, host=self.HOST))
        self.assertEqual(self.asked(self.ISSUER, "me"), before + 1)

    def test_userinfo_is_not_asked_where_a_scope_already_denies(self):
        token = self.token("erna", "openid archive ameise/permissions")
        before = self.asked(self.ISSUER, "me")
        self.refused(self.ask("/ameise/employees", token, host=self.HOST), 403, "scope")
        self.assertEqual(self.asked(self.ISSUER, "me"), before)

    def test_the_broker_of_userinfo_binds_the_path_without_case(self):
        self.allowed(self.ask("/ameise/brokers/MVP/archive", self.token("erna"), host=self.HOST))
        self.refused(self.ask("/ameise/brokers/other/archive", self.token("erna"), host=self.HOST), 403, "claim")

    def test_an_employee_is_named_without_case(self):
        self.allowed(self.ask("/ameise/employees/KURT", self.token("kurt"), host=self.HOST))
        self.refused(self.ask("/ameise/employees/erna", self.token("kurt"), host=self.HOST), 403, "any_of")


class AmeiseTenant(Families):
    ISSUERS = {"ameise": {"issuer": "ameise", "preset": "ameise"}}
    POLICIES = {"flow.yaml": """\
        version: 1
        policy: flow
        hosts: [ameise.example.com]
        upstream: ameise
        issuers: [ameise]
        routes:
          - {path: /who, methods: [GET], require: {scope: {any_of: [employees, trap]}}}
        """}

    def test_a_tenant_named_like_the_employee_makes_nobody_a_machine(self):
        token = self.user_token("erna", "ameise", "openid employees trap")
        seen = self.allowed(self.ask("/who", token, host="ameise.example.com"))
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_FLOW"], "user")
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_SUBJECT"], "erna")
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_CLIENT_ID"], "app")


class AmeiseOpaque(Ameise):
    """Opaque tokens: introspection says who, userinfo says what she may."""

    ISSUER = "ameise-opaque"
    ISSUERS = {"ameise": {"issuer": "ameise-opaque", "preset": "ameise", "audiences": "any", "introspected": True}}

    def test_introspection_is_asked_once_for_many_requests(self):
        token = self.token("erna")
        before = self.asked(self.ISSUER, "token/introspection")
        for _ in range(5):
            self.allowed(self.ask("/ameise/employees", token, host=self.HOST))
        self.assertEqual(self.asked(self.ISSUER, "token/introspection"), before + 1)


class AmeiseSigned(AmeiseOpaque):
    """The same with userinfo as a signed JWT (OpenID Connect Core section 5.3.2)."""

    ISSUER = "ameise-signed"
    ISSUERS = {"ameise": {"issuer": "ameise-signed", "preset": "ameise", "audiences": "any", "introspected": True}}


class Opaque(Families):
    # A provider that leaves `sub` out of what it says about a client's own token.
    ISSUERS = {"kusy": {"issuer": "opaque", "audiences": "any", "introspected": True,
                        "client_credentials_when": {"claim": "sub", "exists": False}}}
    POLICIES = {"kusy-customers.yaml": shipped("kusy-customers")}
    HOST = "customers.example.com"

    def test_a_customer_opens_her_own_contracts_and_nobody_elses(self):
        token = self.user_token("alice", "opaque")
        self.assertNotIn(".", token)
        self.allowed(self.ask(f"/crm/customers/{ALICE}/contracts", token, host=self.HOST))
        self.refused(self.ask(f"/crm/customers/{BOB}/contracts", token, host=self.HOST), 403, "subject")

    def test_the_batch_client_is_lifted_over_the_binding(self):
        token = self.machine_token("opaque")
        seen = self.allowed(self.ask(f"/crm/customers/{BOB}/contracts", token, host=self.HOST))
        self.assertEqual(seen["headers"]["HTTP_X_AUTH_FLOW"], "client_credentials")

    def test_a_token_nobody_issued_and_one_that_was_withdrawn_are_refused(self):
        answer = self.ask(f"/crm/customers/{ALICE}/contracts", "nobody-issued-this", host=self.HOST)
        self.assertEqual(answer.status, 401, answer)
        token = self.user_token("alice", "opaque")
        revoked = curl(["-u", "app:app-secret", "-d", f"token={token}", f"{self.issuer_url('opaque')}/token/revocation"])
        self.assertEqual(revoked.status, 200, revoked)
        answer = self.ask(f"/crm/customers/{ALICE}/contracts", token, host=self.HOST)
        self.assertEqual(answer.status, 401, answer)
        self.assertIn('error="invalid_token"', answer.headers["www-authenticate"])


class Bound(Families):
    """Tokens bound to a client certificate (RFC 8705)."""

    ISSUERS = {"kusy": {"issuer": "bound", "sender_constraint": "required"}}
    POLICIES = {"kusy-customers.yaml": shipped("kusy-customers")}
    TLS = ", client_certificates: {mode: optional, ca: ca.pem}"
    HOST = "customers.example.com"

    def bound_token(self):
        certificate = quote((self.directory / "client.pem").read_text(), safe="")
        return self.machine_token("bound", options=["-H", f"X-Client-Certificate: {certificate}"])

    def open(self, token, certificate, *options):
        shown = ["--cert", str(self.directory / f"{certificate}.pem"), "--key", str(self.directory / f"{certificate}.key")]
        return self.ask(f"/crm/customers/{BOB}/contracts", token, [*(shown if certificate else []), *options], host=self.HOST)

    def test_a_bound_token_opens_only_with_its_certificate(self):
        token = self.bound_token()
        for version in ("--http1.1", "--http2"):
            with self.subTest(version):
                self.allowed(self.open(token, "client", version))
                for other in (None, "other"):
                    answer = self.open(token, other, version)
                    self.assertEqual(answer.status, 401, answer)
                    self.assertIn('error="invalid_token"', answer.headers["www-authenticate"])

    def test_a_token_that_is_not_bound_is_refused_where_binding_is_required(self):
        answer = self.open(self.machine_token("bound", client="unbound"), "client")
        self.assertEqual(answer.status, 401, answer)


if __name__ == "__main__":
    unittest.main()
