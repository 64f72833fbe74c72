//! The Rust client vaultrs, through the gate. It reads a plan and prints what it saw as `hvac_client.py` has it.

use std::error::Error;
use std::{fs, io};

use serde::Deserialize;
use serde_json::{Value, json};
use vaultrs::api::kv2::requests::{ReadSecretRequest, SetSecretRequestOptions};
use vaultrs::api::token::requests::CreateTokenRequest;
use vaultrs::client::{Client, Identity, VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::{api, auth, kv2, token, transit};

#[derive(Deserialize)]
struct Plan {
    address: String,
    ca: String,
    certificate: Option<String>,
    key: Option<String>,
    #[serde(default)]
    token: String,
    login: Option<Login>,
    calls: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Login {
    method: String,
    data: Value,
}

struct Caller {
    client: VaultClient,
    /// The last ciphertext.
    ciphertext: String,
}

fn connect(plan: &Plan) -> Result<VaultClient, Box<dyn Error>> {
    let mut settings = VaultClientSettingsBuilder::default();
    settings.address(&plan.address).ca_certs(vec![plan.ca.clone()]).token(&plan.token).identity(None);
    if let (Some(certificate), Some(key)) = (&plan.certificate, &plan.key) {
        let pem = [fs::read(certificate)?, fs::read(key)?].concat();
        settings.identity(Some(Identity::from_pem(&pem)?));
    }
    Ok(VaultClient::new(settings.build()?)?)
}

impl Caller {
    async fn log_in(&mut self, Login { method, data }: &Login) -> Result<(), ClientError> {
        let text = |name: &str| data[name].as_str().unwrap_or_default();
        let auth = match method.as_str() {
            "cert" => auth::cert::login(&self.client, method, "any").await,
            "jwt" => auth::oidc::login(&self.client, method, text("jwt"), Some(text("role").into())).await,
            "approle" => auth::approle::login(&self.client, method, text("role_id"), text("secret_id")).await,
            _ => Err(ClientError::InvalidLoginMethodError),
        };
        self.client.set_token(&auth?.client_token);
        Ok(())
    }

    async fn read(&self, path: &str) -> Result<(u64, Value), ClientError> {
        let mut request = ReadSecretRequest::builder();
        let request = request.mount("secret").path(path).build().expect("a request");
        let answer = api::exec_with_result(&self.client, request).await?;
        Ok((answer.metadata.version, answer.data))
    }

    async fn call(&mut self, call: &[Value]) -> Result<Value, ClientError> {
        let text = |place: usize| call.get(place).and_then(Value::as_str).unwrap_or_default();
        let client = &self.client;
        Ok(match text(0) {
            "write" => kv2::set(client, "secret", text(1), &call[2]).await?.version.into(),
            // It has no call for this: what is read is changed, and written over that version only.
            "patch" => {
                let (cas, mut data) = self.read(text(1)).await?;
                for (name, value) in call[2].as_object().into_iter().flatten() {
                    data[name] = value.clone();
                }
                let options = SetSecretRequestOptions { cas: u32::try_from(cas).expect("a version") };
                kv2::set_with_options(client, "secret", text(1), &data, options).await?.version.into()
            }
            "delete" => {
                kv2::delete_latest(client, "secret", text(1)).await?;
                Value::Null
            }
            "read" => {
                let (version, data) = self.read(text(1)).await?;
                json!([version, data])
            }
            "version" => kv2::read_version(client, "secret", text(1), call[2].as_u64().unwrap_or_default()).await?,
            "list" => json!(kv2::list(client, "secret", text(1)).await?),
            "encrypt" => {
                let sealed = transit::data::encrypt(client, "transit", text(1), text(2), None).await?;
                self.ciphertext = sealed.ciphertext;
                self.ciphertext[..9].into()
            }
            "decrypt" => {
                transit::data::decrypt(client, "transit", text(1), &self.ciphertext, None).await?.plaintext.into()
            }
            "lookup" => token::lookup_self(client).await?.display_name.into(),
            "create" => {
                let made = token::new(client, Some(CreateTokenRequest::builder().ttl(text(1)))).await?;
                self.client.set_token(&made.client_token);
                made.lease_duration.into()
            }
            "revoke" => {
                token::revoke_self(client).await?;
                Value::Null
            }
            name => panic!("no call is named {name}"),
        })
    }
}

/// What an error is to the test: its status.
fn status(error: &ClientError) -> Value {
    match error {
        ClientError::APIError { code, .. } => json!({"status": code}),
        other => json!(format!("{other:?}")),
    }
}

async fn follow(plan: &Plan) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut caller = Caller { client: connect(plan)?, ciphertext: String::new() };
    if let Some(login) = &plan.login
        && let Err(error) = caller.log_in(login).await
    {
        return Ok(vec![status(&error)]);
    }
    let mut saw = Vec::new();
    for call in &plan.calls {
        saw.push(caller.call(call).await.unwrap_or_else(|error| status(&error)));
    }
    Ok(saw)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let plan = serde_json::from_reader(io::stdin())?;
    println!("{}", Value::from(follow(&plan).await?));
    Ok(())
}
