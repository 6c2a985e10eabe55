//! Who may post to a source.
//!
//! Guarantees: a request that no way lets in reaches neither its body nor anything behind it; what
//! the check costs depends on the number of credentials, never on how much of one was right.
//! Leaves to others: saying no (`problem`), and which source a request is for (`webhooks`).
//!
//! A source has a list of ways, and any one that passes is enough. A way that can tell from the head
//! is asked before a byte of the body is read. A way that needs the body, as a signature does, will
//! be asked again once the bytes on the wire are there: it belongs into [`Way`] and a second verb
//! beside [`Doors::let_in`].

mod tokens;

use actix_web::http::header::HeaderMap;

use super::settings::AuthSettings;
use tokens::Tokens;

/// The ways into one source.
pub(super) struct Doors {
    ways: Vec<Way>,
}

/// One way to be let in.
enum Way {
    /// Everybody is: said out loud in the configuration.
    Open,
    /// A shared token, in one of the places that a token can stand.
    Tokens(Tokens),
}

/// What of a request's head can carry a credential.
pub(super) struct Head<'a> {
    pub(super) headers: &'a HeaderMap,
    /// The raw query of the URL.
    pub(super) query: Option<&'a str>,
}

impl Doors {
    pub(super) fn new(settings: &AuthSettings) -> Self {
        let mut ways = Vec::new();
        if settings.none {
            ways.push(Way::Open);
        }
        if !settings.tokens.is_empty() {
            ways.push(Way::Tokens(Tokens::new(&settings.tokens)));
        }
        Self { ways }
    }

    /// Whether the head alone lets the request in.
    pub(super) fn let_in(&self, head: &Head<'_>) -> bool {
        self.ways.iter().any(|way| match way {
            Way::Open => true,
            Way::Tokens(tokens) => tokens.pass(head),
        })
    }
}
