# The gate's own rights: to make agents' tokens through the token roles, to look after its own
# token, to look up, renew and revoke what it gave out, to wrap answers, and to keep its records of
# leases, of suspended agents and of the gates.
# It reads no agent's secret.

path "auth/token/create/portcullis" {
  capabilities = ["update"]
}

path "auth/token/create/portcullis-templated" {
  capabilities = ["update"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-accessor" {
  capabilities = ["update"]
}

path "sys/health" {
  capabilities = ["read"]
}

path "auth/token/create/portcullis-leases" {
  capabilities = ["update"]
}

path "sys/leases/lookup" {
  capabilities = ["update"]
}

path "sys/leases/renew" {
  capabilities = ["update"]
}

path "sys/leases/revoke" {
  capabilities = ["update"]
}

path "pki/revoke" {
  capabilities = ["update"]
}

path "sys/wrapping/wrap" {
  capabilities = ["update"]
}

path "sys/wrapping/rewrap" {
  capabilities = ["update"]
}

path "sys/wrapping/lookup" {
  capabilities = ["update"]
}

# The keys of handles are derived from each version of this key; it is made where it is missing.
path "transit/keys/portcullis-handles" {
  capabilities = ["create", "read", "update"]
}

path "transit/hmac/portcullis-handles/sha2-256" {
  capabilities = ["update"]
}

path "secret/data/portcullis/leases/*" {
  capabilities = ["create", "read", "update"]
}

# Who is suspended. The gate reads it; whoever runs `portcullis suspend` writes it too.
path "secret/data/portcullis/suspended" {
  capabilities = ["create", "read", "update"]
}

# What each gate has seen of it. The gates write it; whoever runs `portcullis suspend` reads it.
path "secret/data/portcullis/gates" {
  capabilities = ["create", "read", "update"]
}
