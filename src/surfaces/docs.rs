//! The OpenAPI document, and the pages that show it. The pages' scripts and
//! styles are those of the packaged user interfaces, served from here, and
//! the pages may load nothing from elsewhere.

use std::sync::LazyLock;

use aide::redoc::Redoc;
use aide::swagger::Swagger;
use bytes::Bytes;
use filters::catalog::{CATALOG, Catalog};
use filters::openapi;
use http::HeaderValue;

use super::Reply;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Swagger UI and ReDoc write styles into the page, draw inlined pictures, and
/// ReDoc searches in a worker that it makes itself.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

const SWAGGER_PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Portcullis</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="swagger"></div><script src="/docs/swagger-ui.js"></script><script src="/docs/start.js"></script></body>
</html>
"#;

const SWAGGER_START: &str = r##"SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger", deepLinking: true, showExtensions: true, validatorUrl: null,
});
"##;

const REDOC_PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Portcullis</title></head>
<body><div id="redoc"></div><script src="/redoc/redoc.js"></script><script src="/redoc/start.js"></script></body>
</html>
"#;

const REDOC_BEGIN: &str = r#"Redoc.init("/openapi.json", {showExtensions: true}, document.getElementById("redoc"));
"#;

/// The document with and without the REST surface.
static WITH_REST: LazyLock<Bytes> = LazyLock::new(|| rendered(&CATALOG));
static WITHOUT_REST: LazyLock<Bytes> = LazyLock::new(|| rendered(&Catalog { engines: &[], others: &[] }));

static SWAGGER_STYLE: LazyLock<Bytes> = LazyLock::new(|| cut(&swagger(), "<style>", "</style>"));
static SWAGGER_SCRIPT: LazyLock<Bytes> = LazyLock::new(|| cut(&swagger(), "<script>", "</script>"));
static REDOC: LazyLock<Bytes> = LazyLock::new(|| {
    let page = Redoc::new("").html().replace(LOGO, "data:,");
    cut(&page, "<script>", "Redoc.init(\"")
});

/// A picture that ReDoc shows below its menu, whatever its options say, and hides where there is none.
const LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";

fn swagger() -> String {
    Swagger::new("").html()
}

fn rendered(catalog: &Catalog) -> Bytes {
    openapi::document(catalog).to_string().into()
}

/// The text between `begin` and the next `end` of a packaged page.
fn cut(page: &str, begin: &str, end: &str) -> Bytes {
    let inside = page.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    inside.map_or_else(Bytes::new, |(text, _)| Bytes::copy_from_slice(text.trim().as_bytes()))
}

/// A page of the documentation, or a part of one.
#[derive(Clone, Copy, Debug)]
pub enum Page {
    /// The OpenAPI document.
    Document,
    /// It, shown by Swagger UI.
    Swagger,
    /// It, shown by ReDoc.
    Redoc,
    /// Something that these pages load: its media type and text.
    Asset(&'static str, fn() -> Bytes),
}

/// The style sheet of Swagger UI.
pub const SWAGGER_UI_STYLE: Page = Page::Asset(STYLE, || SWAGGER_STYLE.clone());
/// The script of Swagger UI.
pub const SWAGGER_UI_SCRIPT: Page = Page::Asset(SCRIPT, || SWAGGER_SCRIPT.clone());
/// The script that starts Swagger UI.
pub const SWAGGER_UI_START: Page = Page::Asset(SCRIPT, || Bytes::from_static(SWAGGER_START.as_bytes()));
/// The script of ReDoc.
pub const REDOC_SCRIPT: Page = Page::Asset(SCRIPT, || REDOC.clone());
/// The script that starts ReDoc.
pub const REDOC_START: Page = Page::Asset(SCRIPT, || Bytes::from_static(REDOC_BEGIN.as_bytes()));

impl Page {
    /// Answers with the page, of a gate with or without the REST surface.
    #[must_use]
    pub fn serve(self, rest: bool) -> Reply {
        let page = |text: &'static str| Reply::of(HTML, Bytes::from_static(text.as_bytes()));
        let mut reply = match self {
            Self::Document if rest => Reply::of("application/json", WITH_REST.clone()),
            Self::Document => Reply::of("application/json", WITHOUT_REST.clone()),
            Self::Swagger => page(SWAGGER_PAGE),
            Self::Redoc => page(REDOC_PAGE),
            Self::Asset(media, body) => Reply::of(media, body()),
        };
        let fresh = if matches!(self, Self::Asset(..)) { "private, max-age=3600" } else { "private, no-cache" };
        reply.add("cache-control", HeaderValue::from_static(fresh));
        reply.add("content-security-policy", POLICY);
        reply.add("referrer-policy", HeaderValue::from_static("no-referrer"));
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_styles_are_cut_whole_out_of_the_packaged_pages() {
        for (asset, begins, holds) in [
            (&*SWAGGER_SCRIPT, "/*!", "SwaggerUIBundle"),
            (&*SWAGGER_STYLE, ".swagger-ui", ".swagger-ui"),
            (&*REDOC, "/*!", "Redoc"),
        ] {
            let text = std::str::from_utf8(asset).unwrap();
            assert!(text.starts_with(begins) && text.contains(holds), "{}", text.get(..80).unwrap_or(text));
            assert!(text.len() > 100_000 && !text.contains("</script>"));
        }
        assert_eq!(Redoc::new("").html().matches(LOGO).count(), 1, "it is elsewhere, or gone");
    }
}
