"""The Python client hvac, through the gate.

Beside it and the other clients of Vault's: their plan, one on standard input, as JSON. `address`, and for TLS `ca`,
`certificate` and `key`, all PEM files; `token`, or `login` with its `method` and the `data` that it sends; `calls`, each
a name and what it takes. A client prints what each call gave, as a list of JSON: a value, or the `status` with which it
was refused. One that cannot log in prints that status alone.
"""

import json
import sys

import hvac
from hvac import exceptions

STATUS = {exceptions.InvalidRequest: 400, exceptions.Forbidden: 403, exceptions.InvalidPath: 404}


class Caller:
    def __init__(self, plan):
        identity = (plan["certificate"], plan["key"]) if "certificate" in plan else None
        self.client = hvac.Client(plan["address"], token=plan.get("token"), verify=plan["ca"], cert=identity)
        self.kv = self.client.secrets.kv.v2
        self.transit = self.client.secrets.transit

    def login(self, login):
        logins = {
            "cert": self.client.auth.cert.login,
            "jwt": self.client.auth.jwt.jwt_login,
            "approle": self.client.auth.approle.login,
        }
        logins[login["method"]](**login["data"])

    def write(self, path, data):
        return self.kv.create_or_update_secret(path, data)["data"]["version"]

    def patch(self, path, data):
        return self.kv.patch(path, data)["data"]["version"]

    def read(self, path):
        answer = self.kv.read_secret_version(path, raise_on_deleted_version=True)["data"]
        return [answer["metadata"]["version"], answer["data"]]

    def version(self, path, version):
        return self.kv.read_secret_version(path, version, raise_on_deleted_version=True)["data"]["data"]

    def list(self, path):
        return self.kv.list_secrets(path)["data"]["keys"]

    def delete(self, path):
        self.kv.delete_latest_version_of_secret(path)

    def encrypt(self, key, plaintext):
        self.ciphertext = self.transit.encrypt_data(key, plaintext)["data"]["ciphertext"]
        return self.ciphertext[:9]

    def decrypt(self, key):
        return self.transit.decrypt_data(key, self.ciphertext)["data"]["plaintext"]

    def lookup(self):
        assert self.client.is_authenticated()
        return self.client.auth.token.lookup_self()["data"]["display_name"]

    def create(self, ttl):
        auth = self.client.auth.token.create(ttl=ttl)["auth"]
        self.client.token = auth["client_token"]
        return auth["lease_duration"]

    def revoke(self):
        self.client.auth.token.revoke_self()


def tried(call, *arguments):
    try:
        return call(*arguments)
    except exceptions.VaultError as error:
        return {"status": STATUS[type(error)]}


def follow(plan):
    caller = Caller(plan)
    if "login" in plan and (refused := tried(caller.login, plan["login"])):
        return [refused]
    return [tried(getattr(caller, name), *arguments) for name, *arguments in plan["calls"]]


print(json.dumps(follow(json.load(sys.stdin))))
