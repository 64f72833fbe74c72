# The gate's own rights: to make agents' tokens through the two token roles, to look after its
# own token, and to revoke what it made. It reads no secret.

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
