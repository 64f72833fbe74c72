#!/bin/sh
# Gives a Vault what the gate and its agents need. Safe to repeat.
#
# Environment: VAULT_ADDR and VAULT_TOKEN (and VAULT_CACERT) of a Vault or OpenBao, VAULT_BINARY (the
# command line to ask it with; default: vault or bao, from PATH), AGENTS (comma separated). Prints the gate's credentials as two lines,
# VAULT_ROLE_ID=... and VAULT_SECRET_ID=..., and nothing else, on standard output. Every run
# makes a new secret id.
set -eu

policies=$(cd "$(dirname "$0")/policies" && pwd)
agents=${AGENTS-agent_api,agent_jwt,agent_mtls}

client=${VAULT_BINARY:-$(command -v vault || command -v bao || :)}
[ -n "$client" ] || { echo "neither vault nor bao is in PATH; VAULT_BINARY may name one" >&2; exit 1; }
# bao prefers variables of its own.
[ -z "${VAULT_ADDR-}" ] || export BAO_ADDR="$VAULT_ADDR"
[ -z "${VAULT_TOKEN-}" ] || export BAO_TOKEN="$VAULT_TOKEN"
[ -z "${VAULT_CACERT-}" ] || export BAO_CACERT="$VAULT_CACERT"

vault() { "$client" "$@"; }
quietly() { "$@" >/dev/null; }

# is_mounted secrets|auth PATH/: whether something is mounted there.
is_mounted() { vault "$1" list -format=json | grep -q "\"$2\""; }

# agent_policy POLICY NAME: writes the policy of one agent's namespace.
agent_policy() {
    sed -e '/^#/d' -e "s|@AGENT@|$2|g" "$policies/agent.hcl" | quietly vault policy write "$1" -
}

mount_kv() {
    if ! is_mounted secrets secret/; then
        quietly vault secrets enable -path=secret -version=2 kv
    elif ! vault read -field=options sys/mounts/secret | grep -q version:2; then
        quietly vault kv enable-versioning secret
    fi
    # A new mount answers 400 for as long as it sets itself up.
    tries=0
    until vault read secret/config >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 50 ] || { echo "KV at secret/ does not get ready" >&2; exit 1; }
        sleep 0.2
    done
}

mount_transit() {
    is_mounted secrets transit/ || quietly vault secrets enable transit
    quietly vault write -f transit/keys/agents-key
    quietly vault write transit/keys/agents-signing-key type=ed25519
    quietly vault write -f transit/keys/portcullis-handles
}

# The engine of database logins; which databases there are is for whoever has one to say.
mount_database() {
    is_mounted secrets database/ || quietly vault secrets enable database
}

# Users ops and deploy log in with signed keys; ops with one-time passwords on this host.
mount_ssh() {
    is_mounted secrets ssh/ || quietly vault secrets enable ssh
    vault read ssh/config/ca >/dev/null 2>&1 || quietly vault write ssh/config/ca generate_signing_key=true
    quietly vault write ssh/roles/ops - <<JSON
{"key_type": "ca", "allow_user_certificates": true, "allowed_users": "ops,deploy", "default_user": "ops",
 "ttl": "30m", "max_ttl": "1h", "allowed_extensions": "permit-pty,permit-port-forwarding",
 "default_extensions": {"permit-pty": ""}}
JSON
    quietly vault write ssh/roles/otp key_type=otp default_user=ops cidr_list=127.0.0.0/8
}

# An authority of its own, for host names below agents.internal and nothing else: what Vault allows
# of itself (wildcards, addresses, localhost, e-mail addresses as names) is taken away one by one.
mount_pki() {
    is_mounted secrets pki/ || quietly vault secrets enable -max-lease-ttl=87600h pki
    [ -n "$(vault read -field=certificate pki/cert/ca 2>/dev/null)" ] ||
        quietly vault write pki/root/generate/internal common_name="Portcullis development CA" ttl=87600h
    quietly vault write pki/roles/service allowed_domains=agents.internal allow_subdomains=true \
        allow_wildcard_certificates=false allow_ip_sans=false allow_localhost=false cn_validations=hostname \
        key_type=ec key_bits=256 key_usage=DigitalSignature ttl=24h max_ttl=72h
}

write_policies() {
    quietly vault policy write portcullis-gate "$policies/portcullis-gate.hcl"
    accessor=$(vault read -field=accessor sys/auth/token)
    agent_policy portcullis-agent "{{identity.entity.aliases.$accessor.name}}"
    for agent in $(echo "$agents" | tr ',' ' '); do
        case $agent in
            *[!a-z0-9._-]* | *..*) echo "not an agent's name: $agent" >&2; exit 1 ;;
        esac
        agent_policy "mcp-agent-$agent" "$agent"
    done
}

# What the gate's token roles have in common: tokens that outlive the gate's own login, never
# carry Vault's default policy, and are batch tokens unless asked otherwise.
write_token_roles() {
    set -- orphan=true renewable=true token_type=default-batch token_no_default_policy=true
    quietly vault write auth/token/roles/portcullis "$@" \
        allowed_policies_glob='mcp-agent-*' allowed_entity_aliases='*'
    quietly vault write auth/token/roles/portcullis-templated "$@" \
        allowed_policies=portcullis-agent allowed_policies_glob='portcullis-roles-*' allowed_entity_aliases='*'
    # Leases end with their token, so that each has one of its own, for the time a lease may last.
    quietly vault write auth/token/roles/portcullis-leases orphan=true renewable=true token_type=service \
        token_no_default_policy=true allowed_policies=portcullis-agent \
        allowed_policies_glob='mcp-agent-*,portcullis-roles-*' allowed_entity_aliases='*'
}

write_login() {
    is_mounted auth approle/ || quietly vault auth enable approle
    quietly vault write auth/approle/role/portcullis token_policies=portcullis-gate \
        token_no_default_policy=true token_ttl=1h token_max_ttl=24h
}

print_credentials() {
    echo "VAULT_ROLE_ID=$(vault read -field=role_id auth/approle/role/portcullis/role-id)"
    echo "VAULT_SECRET_ID=$(vault write -f -field=secret_id auth/approle/role/portcullis/secret-id)"
}

mount_kv
mount_transit
mount_database
mount_ssh
mount_pki
write_policies
write_token_roles
write_login
print_credentials
