# One agent's own namespace. provision.sh replaces @AGENT@: by an agent's name in the policy
# mcp-agent-<agent>, by the name of the token's entity alias in the policy portcullis-agent.

path "secret/data/mcp/@AGENT@/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

path "secret/metadata/mcp/@AGENT@" {
  capabilities = ["list"]
}

path "secret/metadata/mcp/@AGENT@/*" {
  capabilities = ["create", "read", "update", "patch", "list", "delete"]
}

path "secret/delete/mcp/@AGENT@/*" {
  capabilities = ["update"]
}

path "secret/undelete/mcp/@AGENT@/*" {
  capabilities = ["update"]
}

path "secret/destroy/mcp/@AGENT@/*" {
  capabilities = ["update"]
}

path "transit/random" {
  capabilities = ["update"]
}

path "transit/random/*" {
  capabilities = ["update"]
}

path "transit/encrypt/agents-key" {
  capabilities = ["update"]
}

path "transit/decrypt/agents-key" {
  capabilities = ["update"]
}

path "transit/rewrap/agents-key" {
  capabilities = ["update"]
}

path "transit/datakey/plaintext/agents-key" {
  capabilities = ["update"]
}

path "transit/hmac/agents-key" {
  capabilities = ["update"]
}

path "transit/verify/agents-key" {
  capabilities = ["update"]
}

path "transit/sign/agents-signing-key" {
  capabilities = ["update"]
}

path "transit/verify/agents-signing-key" {
  capabilities = ["update"]
}

path "database/creds/readonly" {
  capabilities = ["read"]
}

path "database/creds/brief" {
  capabilities = ["read"]
}

path "ssh/sign/ops" {
  capabilities = ["update"]
}

path "ssh/creds/otp" {
  capabilities = ["update"]
}

path "pki/issue/service" {
  capabilities = ["update"]
}

path "pki/sign/service" {
  capabilities = ["update"]
}
