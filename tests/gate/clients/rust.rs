//! The official Rust client, `rmcp`, in the tests' own process.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Certificate, Identity};
use rmcp::model::{
    CallToolRequestParams, GetPromptRequestParams, JsonObject, ProtocolVersion, ReadResourceRequestParams,
    ResourceUpdatedNotificationParam, ServerNotification, SubscribeRequestParams, SubscriptionFilter,
};
use rmcp::service::{ClientLifecycleMode, NotificationContext, RunningService, Subscription};
use rmcp::service::{RoleClient, serve_client_with_lifecycle};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientHandler, ServiceError};
use serde_json::{Value, json};
use tests::Gate;
use tests::mcp::STATELESS;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::while_shared_changes;

type Client = RunningService<RoleClient, Handler>;

/// Does what the plan says, as the scripts do; what it saw.
pub fn follow(plan: &Value, gate: &Gate) -> Value {
    let runtime = Runtime::new().expect("a runtime");
    let (sender, receiver) = unbounded_channel();
    let client = runtime.block_on(connect(plan, Handler(sender)));
    let seen = if plan["waits"] == true {
        runtime.block_on(async {
            let filter = SubscriptionFilter::builder().tools_list_changed().build();
            told(&mut Told::of(&client, filter, receiver).await).await;
            json!({"changed": tools(&client).await})
        })
    } else {
        let mut seen = runtime.block_on(look(&client, plan));
        let uri = plan["shared"].as_str().expect("a URI");
        let mut updates = runtime.block_on(subscribe(&client, uri, receiver));
        seen["updated"] = while_shared_changes(plan, gate, || runtime.block_on(told(&mut updates))).into();
        seen["shared"] = runtime.block_on(read(&client, uri));
        seen
    };
    runtime.block_on(client.cancel()).expect("it ends");
    seen
}

/// Passes on the URI of an updated resource, and nothing for changed tools.
struct Handler(UnboundedSender<Option<String>>);

impl ClientHandler for Handler {
    async fn on_resource_updated(&self, params: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        let _ = self.0.send(Some(params.uri));
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.0.send(None);
    }
}

/// Where notifications come from.
enum Told {
    Subscription(Box<Subscription>),
    Session(UnboundedReceiver<Option<String>>),
}

impl Told {
    async fn of(client: &Client, filter: SubscriptionFilter, session: UnboundedReceiver<Option<String>>) -> Self {
        match revision(client).as_str() {
            STATELESS => Self::Subscription(Box::new(client.listen(filter).await.expect("a stream"))),
            _ => Self::Session(session),
        }
    }
}

/// The URI in the next notification.
async fn told(from: &mut Told) -> Option<String> {
    let next = async {
        match from {
            Told::Session(receiver) => receiver.recv().await.expect("a notification"),
            Told::Subscription(stream) => match stream.next().await.expect("a stream") {
                Some(ServerNotification::ResourceUpdatedNotification(updated)) => Some(updated.params.uri),
                Some(_) => None,
                None => panic!("the stream has ended"),
            },
        }
    };
    tokio::time::timeout(Duration::from_secs(120), next).await.expect("it was told nothing")
}

#[expect(deprecated, reason = "revisions with a handshake have no other way")]
async fn subscribe(client: &Client, uri: &str, session: UnboundedReceiver<Option<String>>) -> Told {
    let from = Told::of(client, SubscriptionFilter::builder().resource_subscription(uri).build(), session).await;
    if matches!(from, Told::Session(_)) {
        client.subscribe(SubscribeRequestParams::new(uri)).await.expect("a subscription");
    }
    from
}

async fn connect(plan: &Value, handler: Handler) -> Client {
    let preferred_versions = vec![ProtocolVersion::LATEST];
    let mode = match plan["mode"].as_str().expect("a mode") {
        "legacy" => ClientLifecycleMode::Initialize,
        "auto" => ClientLifecycleMode::Auto { preferred_versions, legacy_version: None },
        _ => ClientLifecycleMode::Discover { preferred_versions },
    };
    let connected = if plan["url"].is_string() {
        serve_client_with_lifecycle(handler, over_http(plan), mode).await
    } else {
        serve_client_with_lifecycle(handler, over_stdio(plan), mode).await
    };
    connected.unwrap_or_else(|error| panic!("{plan}: {error}"))
}

fn over_http(plan: &Value) -> StreamableHttpClientTransport<reqwest::Client> {
    let file = |name: &str| std::fs::read(plan[name].as_str().expect("a path")).expect("a file");
    let mut client = reqwest::Client::builder().no_proxy();
    if plan["ca"].is_string() {
        let identity = [file("certificate"), file("key")].concat();
        client = client.add_root_certificate(Certificate::from_pem(&file("ca")).expect("PEM"));
        client = client.identity(Identity::from_pem(&identity).expect("PEM"));
    }
    let header = |(name, value): (&String, &Value)| {
        let value = HeaderValue::from_str(value.as_str().expect("text")).expect("a value");
        (name.parse::<HeaderName>().expect("a name"), value)
    };
    let headers: HashMap<_, _> = plan["headers"].as_object().expect("headers").iter().map(header).collect();
    let url = plan["url"].as_str().expect("a URL");
    let config = StreamableHttpClientTransportConfig::with_uri(url).custom_headers(headers);
    StreamableHttpClientTransport::with_client(client.build().expect("a client"), config)
}

fn over_stdio(plan: &Value) -> TokioChildProcess {
    let mut command = tokio::process::Command::new(plan["command"].as_str().expect("a path"));
    command.args(plan["args"].as_array().expect("arguments").iter().filter_map(Value::as_str));
    let env = plan["env"].as_object().expect("variables");
    command.envs(env.iter().filter_map(|(name, value)| Some((name, value.as_str()?))));
    TokioChildProcess::new(command).expect("a process")
}

fn revision(client: &Client) -> String {
    client.peer_info().expect("an answer").protocol_version.to_string()
}

async fn tools(client: &Client) -> Vec<String> {
    let tools = client.list_all_tools().await.expect("tools");
    tools.into_iter().map(|tool| tool.name.into_owned()).collect()
}

/// All but what others change meanwhile.
async fn look(client: &Client, plan: &Value) -> Value {
    let text = |name: &str| plan[name].as_str().expect("text");
    let uri = text("uri");
    let tools = tools(client).await;
    let calls = called(client, &plan["calls"]).await;
    let resources = client.list_all_resources().await.expect("resources");
    let about = object(&json!({"path": text("path")}));
    let prompt = client.get_prompt(GetPromptRequestParams::new("kv_read").with_arguments(about)).await;
    let prompt = json!(prompt.expect("a prompt"));
    let prompts = client.list_all_prompts().await.expect("prompts");
    json!({
        "revision": revision(client),
        "tools": tools,
        "calls": calls,
        "resources": resources.iter().map(|resource| &resource.uri).collect::<Vec<_>>(),
        "resource": read(client, uri).await,
        "folder": read(client, &format!("{uri}/")).await,
        "nothing": read(client, &format!("{uri}/missing")).await,
        "templates": client.list_all_resource_templates().await.expect("templates").len(),
        "prompts": prompts.iter().map(|prompt| &prompt.name).collect::<Vec<_>>(),
        "prompt": prompt["messages"][0]["content"]["text"],
    })
}

/// The result of each call; an argument may be a member of a tool's last answer.
async fn called(client: &Client, calls: &Value) -> Vec<Value> {
    let mut answers = json!({});
    let mut results = Vec::new();
    for call in calls.as_array().expect("calls") {
        let tool = call[0].as_str().expect("a name").to_owned();
        let mut arguments = object(&call[1]);
        for argument in arguments.values_mut() {
            if let Some(members) = argument["from"].as_array() {
                let members = members.iter().filter_map(Value::as_str);
                *argument = members.fold(&answers, |part, member| &part[member]).clone();
            }
        }
        let result = client.call_tool(CallToolRequestParams::new(tool.clone()).with_arguments(arguments)).await;
        let result = json!(result.unwrap_or_else(|error| panic!("{tool}: {error}")));
        let text = &result["content"][0]["text"];
        if result["isError"] == false {
            answers[&tool] = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
        }
        results.push(json!({"error": result["isError"], "structured": result["structuredContent"], "texts": [text]}));
    }
    results
}

async fn read(client: &Client, uri: &str) -> Value {
    match client.read_resource(ReadResourceRequestParams::new(uri)).await {
        Ok(result) => json!([json!(result)["contents"][0]["text"]]),
        Err(ServiceError::McpError(error)) => error.code.0.into(),
        Err(error) => panic!("{uri}: {error}"),
    }
}

fn object(value: &Value) -> JsonObject {
    value.as_object().expect("an object").clone()
}
