//! Every route that is not an operation's, in one table. Those of operations stand in the catalog,
//! those of operators in a table of their own.

use filters::catalog::CATALOG;
use filters::operation::Entry;
use http::Method;

use crate::admin;
use crate::surfaces::docs::{self, Page};
use crate::surfaces::listen::Stream;
use crate::surfaces::metadata;
use crate::telemetry::RouteId;

/// The callers that a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Anyone, on every listener.
    Anyone,
    /// Callers that are admitted.
    Callers,
    /// Operators; anyone on a listener that serves metrics.
    Metrics,
    /// Nobody, callers or anyone, as `docs` says.
    Documentation,
    /// Anyone, where tokens are believed at all.
    Metadata,
    /// Anyone, where Vault's own API is served.
    VaultClients,
    /// Nobody: what is told of other requests.
    Nobody,
}

/// The thing that a route serves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Serves {
    /// That the process runs.
    Life,
    /// That the gate can serve, or not.
    Readiness,
    Metrics,
    /// The metadata of this resource, by its path.
    Metadata(&'static str),
    Page(Page),
    Events(Stream),
    RecentEvents,
    EndOfSession,
    Mcp,
    /// Messages of MCP that are answered on a stream of events.
    AnsweredOnStream,
    VaultHealth,
    VaultSealStatus,
    VaultLeader,
    Nothing,
}

/// A route.
#[derive(Debug)]
pub(super) struct Route {
    /// Its methods, for whoever asks by another.
    pub(super) allowed: &'static str,
    pub(super) audience: Audience,
    pub(super) serves: Serves,
    path: &'static str,
    /// Method and template, as metrics and log name them.
    label: (&'static str, &'static str),
}

const fn get(path: &'static str, audience: Audience, serves: Serves) -> Route {
    Route { allowed: "GET", audience, serves, path, label: ("GET", path) }
}

const fn asset(path: &'static str, page: Page) -> Route {
    Route { label: ("GET", "/docs/{asset}"), ..get(path, Audience::Documentation, Serves::Page(page)) }
}

const fn mcp(path: &'static str, allowed: &'static str, method: &'static str, serves: Serves) -> Route {
    Route { allowed, audience: Audience::Callers, serves, path, label: (method, "/mcp") }
}

const fn vault(path: &'static str, serves: Serves) -> Route {
    get(path, Audience::VaultClients, serves)
}

const fn told(method: &'static str, template: &'static str) -> Route {
    Route { allowed: "", audience: Audience::Nobody, serves: Serves::Nothing, path: "", label: (method, template) }
}

/// The table. A path that stands twice is served by the row of its method, else by the first.
static ROUTES: [Route; 31] = [
    mcp("/mcp", "GET, POST, DELETE", "POST", Serves::Mcp),
    mcp("/mcp", "GET, POST, DELETE", "GET", Serves::Events(Stream::Mcp)),
    mcp("/mcp", "GET, POST, DELETE", "DELETE", Serves::EndOfSession),
    mcp("/mcp/rpc", "GET, POST, DELETE", "POST", Serves::Mcp),
    mcp("/mcp/rpc", "GET, POST, DELETE", "GET", Serves::Events(Stream::Mcp)),
    mcp("/mcp/rpc", "GET, POST, DELETE", "DELETE", Serves::EndOfSession),
    mcp("/mcp/sse", "GET, POST", "GET", Serves::Events(Stream::Bridge)),
    mcp("/mcp/sse", "GET, POST", "POST", Serves::AnsweredOnStream),
    get("/mcp/events", Audience::Callers, Serves::RecentEvents),
    get("/events", Audience::Callers, Serves::Events(Stream::Plain)),
    get("/healthz", Audience::Anyone, Serves::Life),
    get("/livez", Audience::Anyone, Serves::Life),
    get("/readyz", Audience::Anyone, Serves::Readiness),
    vault("/v1/sys/health", Serves::VaultHealth),
    vault("/v1/sys/seal-status", Serves::VaultSealStatus),
    vault("/v1/sys/leader", Serves::VaultLeader),
    get("/metrics", Audience::Metrics, Serves::Metrics),
    get(metadata::PATH, Audience::Metadata, Serves::Metadata("")),
    Route {
        label: ("GET", metadata::PATH),
        ..get("/.well-known/oauth-protected-resource/mcp", Audience::Metadata, Serves::Metadata("/mcp"))
    },
    get("/openapi.json", Audience::Documentation, Serves::Page(Page::Document)),
    get("/docs", Audience::Documentation, Serves::Page(Page::Swagger)),
    get("/redoc", Audience::Documentation, Serves::Page(Page::Redoc)),
    asset("/docs/swagger-ui.css", docs::SWAGGER_UI_STYLE),
    asset("/docs/swagger-ui.js", docs::SWAGGER_UI_SCRIPT),
    asset("/docs/start.js", docs::SWAGGER_UI_START),
    asset("/redoc/redoc.js", docs::REDOC_SCRIPT),
    asset("/redoc/start.js", docs::REDOC_START),
    told("ANY", "/v1/{path}"),
    told("OPTIONS", "*"),
    told("OTHER", "unmatched"),
    told("OTHER", "unread"),
];

/// Vault's own API.
pub(super) const VAULT_API: RouteId = RouteId::new(ROUTES.len() - 4);
/// A browser's preflight, and `OPTIONS *`.
pub(super) const PREFLIGHT: RouteId = RouteId::new(ROUTES.len() - 3);
/// No route.
pub(super) const UNMATCHED: RouteId = RouteId::new(ROUTES.len() - 2);
/// A head that could not be read.
pub(super) const UNREAD: RouteId = RouteId::new(ROUTES.len() - 1);

/// The route of a path and method.
pub(super) fn find(path: &str, method: &Method) -> Option<(RouteId, &'static Route)> {
    let mut rows = ROUTES.iter().enumerate().filter(|(_, route)| route.path == path && !path.is_empty());
    let first = rows.next()?;
    let same = |(_, route): &(usize, &Route)| route.label.0 == method.as_str();
    let (place, route) = if same(&first) { first } else { rows.find(same).unwrap_or(first) };
    Some((RouteId::new(place), route))
}

/// Tells if it is asked by those who look whether the gate is alive.
pub(super) fn is_probe(id: RouteId) -> bool {
    let probed = |serves| matches!(serves, Serves::Life | Serves::Readiness | Serves::VaultHealth);
    ROUTES.get(id.place()).is_some_and(|route| probed(route.serves))
}

/// The route of operators' of a path.
pub(super) fn of_operators(path: &str) -> Option<(RouteId, &'static admin::Route)> {
    let (place, route) = admin::ROUTES.iter().enumerate().find(|(_, route)| route.path == path)?;
    Some((RouteId::new(ROUTES.len() + place), route))
}

/// True for what is asked again and again to watch the gate, and is in no trace.
pub(super) fn tells_of_gate(id: RouteId) -> bool {
    is_probe(id) || ROUTES.get(id.place()).is_some_and(|route| matches!(route.serves, Serves::Metrics))
}

/// The REST route of an operation.
pub(super) fn of_operation(entry: &'static Entry) -> RouteId {
    let place = CATALOG.iter().position(|other| std::ptr::eq(other, entry));
    place.map_or(UNMATCHED, |place| RouteId::new(ROUTES.len() + admin::ROUTES.len() + place))
}

/// Method and template of every route, in the order of their numbers.
pub fn labels() -> Vec<(&'static str, &'static str)> {
    let own = ROUTES.iter().map(|route| route.label);
    let operators = admin::ROUTES.iter().map(|route| (route.label, route.path));
    own.chain(operators).chain(CATALOG.iter().map(|entry| (entry.spec.method, entry.spec.template))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_served_by_the_row_of_its_method() {
        let serves = |path, method| find(path, &method).map(|(id, route)| (labels()[id.place()], route.serves));
        assert!(matches!(serves("/mcp", Method::POST), Some((("POST", "/mcp"), Serves::Mcp))));
        assert!(matches!(serves("/mcp", Method::GET), Some((("GET", "/mcp"), Serves::Events(_)))));
        assert!(matches!(serves("/mcp", Method::DELETE), Some((("DELETE", "/mcp"), Serves::EndOfSession))));
        assert!(matches!(serves("/mcp/sse", Method::POST), Some((("POST", "/mcp"), Serves::AnsweredOnStream))));
        assert!(matches!(serves("/readyz", Method::POST), Some((("GET", "/readyz"), Serves::Readiness))));
        assert!(serves("", Method::GET).is_none() && serves("/mcp/", Method::GET).is_none());
    }

    #[test]
    fn what_is_told_of_others_has_a_label() {
        let label = |id: RouteId| labels()[id.place()];
        assert_eq!(
            [PREFLIGHT, UNMATCHED, UNREAD].map(label),
            [("OPTIONS", "*"), ("OTHER", "unmatched"), ("OTHER", "unread")]
        );
        let operators = ["/admin/suspensions", "/echo-headers"].map(|path| label(of_operators(path).unwrap().0));
        assert_eq!(operators, [("POST", "/admin/suspensions"), ("GET", "/echo-headers")]);
        for entry in CATALOG.iter() {
            assert_eq!(label(of_operation(entry)), (entry.spec.method, entry.spec.template));
        }
    }
}
