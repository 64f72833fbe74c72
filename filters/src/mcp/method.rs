//! The names of methods.

use super::{Features, Request};

impl<F: Features> Request<'_, F> {
    /// The name of its method.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Discover => "server/discover",
            Self::Ping => "ping",
            Self::Shutdown => "shutdown",
            Self::ListTools => "tools/list",
            Self::ListResources { .. } => "resources/list",
            Self::ListTemplates => "resources/templates/list",
            Self::ReadResource { .. } => "resources/read",
            Self::ListPrompts => "prompts/list",
            Self::GetPrompt(_) => "prompts/get",
            Self::Subscribe { .. } => "resources/subscribe",
            Self::Unsubscribe { .. } => "resources/unsubscribe",
            Self::Listen(_) => "subscriptions/listen",
            Self::Complete(_) => "completion/complete",
            Self::SetLevel(_) => "logging/setLevel",
            Self::CallTool { .. } => "tools/call",
        }
    }
}
